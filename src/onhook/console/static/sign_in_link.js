// Removes the token of a sign-in link from the address bar and from the history.
"use strict";

history.replaceState(null, "", "/sign-in");
