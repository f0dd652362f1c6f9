// Runs that wait for a person: a policy that asks, a model that calls tools, and the cards.

/** A conversation's or the Inbox's card of a kind. */
export const card = (page, kind) => page.locator(`article[data-kind="${kind}"]`);
export const openCard = (page, kind) =>
  page.locator(`article[data-kind="${kind}"]:is([data-state="open"], [data-state="proposed"])`);

/** The link to the Inbox as it is named with this count. */
export const inbox = (page, waiting) =>
  page.getByRole("link", { name: waiting ? `Inbox, ${waiting} waiting` : "Inbox", exact: true });

/** From now on this category is asked about first. */
export async function askBefore(duet, category, more = {}) {
  const { version, rules } = await duet.call("GET", `${duet.home}/policy`);
  const next = [...rules, { category, say: "ask", ...more }];
  await duet.call("PUT", `${duet.home}/policy`, { from: version, rules: next });
}

const remembered = "Maria lives in Porto, by the river.";

/** The arguments of the call that the model makes. */
export const memory = { text: remembered, kind: "fact" };

export const form = {
  question: "Which day do you leave, how many are you, and where to?",
  fields: [
    { name: "day", label: "Day", kind: "date" },
    { name: "people", label: "People", kind: "number" },
    { name: "train", label: "By train?", kind: "yes_no" },
    { name: "place", label: "Place", kind: "choice", options: ["Rome", "Oslo"] },
    { name: "note", label: "Anything else?", kind: "text", optional: true },
  ],
};

/**
 * Answers: "keep" saves a memory after a word, "quiet" without one, "odd" one with characters that are not seen, "ask" asks by the form,
 * "slow" counts slowly; everything else is answered at once. After its call it says what the tool answered.
 */
export async function* companion(question, _, results) {
  const asked = (word) => question.includes(word);
  if (results.length > 0 && !asked("plain")) {
    yield `So it is: ${results.at(-1).replaceAll("\n", " ").slice(0, 160)}`;
    return;
  }
  if (asked("slow")) {
    for (let count = 1; count <= 40; count++) {
      yield `${count}, `;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return;
  }
  if (asked("keep")) yield "I would like to keep that. ";
  if (asked("odd")) yield { call: "remember", arguments: { ...memory, text: "pay \u202egpj.exe\u200b now" } };
  else if (asked("keep") || asked("quiet")) yield { call: "remember", arguments: memory };
  else if (asked("ask")) yield { call: "ask_user", arguments: form };
  else yield "Good day.";
}

/** Sends a message over the API in a new conversation; the run that answers waits. Returns the conversation's page and the run. */
export async function waits(duet, text, who = duet) {
  const { id } = await who.call("POST", `${who.home}/conversations`, {});
  const headers = { "idempotency-key": crypto.randomUUID() };
  const { run_id } = await who.call("POST", `${who.home}/conversations/${id}/messages`, { text }, headers);
  for (let tries = 0; tries < 200; tries++) {
    const { status } = await who.call("GET", `${who.home}/runs/${run_id}`);
    if (status === "waiting") return { place: `/chat/${id}`, run: run_id };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the run does not wait");
}
