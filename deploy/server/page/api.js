// Ask the server. The token is kept in memory, and is gone when the page is left.

import { say } from "./text.js";

let token = null;

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useToken(given) {
  token = given;
}

// GET a route, or POST a body to it; throw a Refusal with the server's message.
export async function ask(route, body, signal) {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
  const request = { headers, signal };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(request, { method: "POST", body: JSON.stringify(body) });
  }
  let answer, said;
  try {
    answer = await fetch(route, request);
    said = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, say.noAnswer);
  }
  if (!answer.ok) throw new Refusal(answer.status, said.error.message);
  return said;
}
