// A certified OpenID provider on the loopback, whose accounts have any name and password: node provider.mjs PORT REDIRECT_URI
import { Provider } from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "onhook", client_secret: "secret", redirect_uris: [redirectUri] }],
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  cookies: { keys: ["of a test"] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: ["sales"] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
