// Passkeys: asks for options, has the browser make or prove a passkey, and sends the form with its answer.
"use strict";

(() => {
  const api = window.PublicKeyCredential;
  if (!api?.parseCreationOptionsFromJSON || !api.parseRequestOptionsFromJSON || !window.isSecureContext) return;

  async function askBrowser(form) {
    const answer = await fetch(form.dataset.options, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(new FormData(form)),
    });
    const content = await answer.json();
    if (!answer.ok) throw new Error([content.detail, content.hint].filter(Boolean).join(": "));
    const credential =
      "user" in content
        ? await navigator.credentials.create({ publicKey: api.parseCreationOptionsFromJSON(content) })
        : await navigator.credentials.get({ publicKey: api.parseRequestOptionsFromJSON(content) });
    return JSON.stringify(credential.toJSON());
  }

  for (const form of document.querySelectorAll("form[data-options]")) {
    form.hidden = false;
    const error = form.querySelector("[data-error]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      error.hidden = true;
      try {
        form.elements.credential.value = await askBrowser(form);
        form.submit();
      } catch (reason) {
        const isCancelled = reason.name === "NotAllowedError";
        error.textContent = isCancelled ? form.dataset.cancelled : reason.message;
        error.hidden = false;
        const button = form.querySelector("button");
        button.disabled = false;
        button.removeAttribute("aria-busy");
      }
    });
  }
})();
