/* Requests to this server, with the token where there is one. */

const TOKEN = "vpt.token";

/** The server said no. status: of HTTP, 0 where no answer came; message: the server's own words. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;
export const setToken = (token) => sessionStorage.setItem(TOKEN, token);
export const forgetToken = () => sessionStorage.removeItem(TOKEN);

/** The document that a path answers with. Throws a `Refusal`. */
export async function ask(path, options = {}) {
  const headers = hasToken() ? { Authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Refusal(0, "No answer: the server cannot be reached, or the file cannot be read.");
  }
  const content = await response.json().catch(() => null);
  if (response.ok && content !== null) return content;
  throw new Refusal(response.status, content?.error?.message ?? `The server answered with status ${response.status}.`);
}

/** Each task's answer for one picture. */
export async function predict(file, tasks) {
  const form = new FormData();
  form.append("image", file);
  for (const task of tasks) form.append("task", task);
  form.append("attention", "true");
  return (await ask("v1/predict", { method: "POST", body: form })).images[0].answers;
}
