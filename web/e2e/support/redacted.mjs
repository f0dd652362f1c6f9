// A reply that recalled a memory which was redacted afterwards.
import { eventually, guest, lastReply } from "./browser.mjs";

/** The entry of the notices page in the menu, while there is something to review. */
export const entry = (page) => page.getByRole("button", { name: "Notices To review" });

export const banner = (page) => page.getByRole("link", { name: "Review these replies", includeHidden: true });

/**
 * The guest shares a memory, replies to the owner recall it, and the guest redacts it. Opens the newest of these
 * conversations on the owner's page and returns its address.
 */
export async function redacted({ duet, page }, replies = 1) {
  const bea = await duet.join(guest);
  const memory = await bea.call("POST", `${bea.home}/memories`, {
    text: "The harbour master is called Maria.",
    visibility: "shared",
  });
  let place;
  for (let count = 0; count < replies; count++) place = await duet.talk("What is the harbour master called?");
  await page.goto(duet.url + place);
  await lastReply(page).getByText("Maria").first().waitFor();
  await eventually(() => banner(page).count(), 0);
  await bea.call("POST", `${bea.home}/memories/${memory.id}/redact`);
  await page.reload();
  await banner(page).waitFor({ state: "attached" });
  return place;
}
