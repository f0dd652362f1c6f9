import type { RealtimeClient } from "@supabase/realtime-js";
import { bearerToken } from "./bearer";

/** How long joining a topic may take before the stream is read instead. */
const JOIN_MS = 4_000;

/** Signals when to read the log of a topic. */
export type Hearing = {
  /** Rejects when the topic cannot be heard, or no longer. */
  lost: Promise<never>;
  leave: () => void;
};

/** Joins a topic; resolves once it is joined, rejects if that fails. */
export type Hear = (topic: string, onHint: () => void) => Promise<Hearing>;

let project: { url: string; publishableKey: string } | undefined;
let client: Promise<RealtimeClient> | undefined;

/** Sets the Supabase project whose Realtime sends hints about runs. */
export function hearFrom(next: typeof project) {
  project = next;
}

/** The source of hints, or nothing in deployments that use only Duet's own streams. */
export function hearing(): Hear | undefined {
  return project && hear;
}

/** One connection for all topics; its code is loaded with the first. */
function connect({ url, publishableKey }: NonNullable<typeof project>): Promise<RealtimeClient> {
  client ??= import("@supabase/realtime-js").then(
    ({ RealtimeClient }) =>
      new RealtimeClient(`${url.replace(/^http/, "ws").replace(/\/$/, "")}/realtime/v1`, {
        params: { apikey: publishableKey },
        // Called at each join and when a token is about to expire.
        accessToken: async () => (await bearerToken()) ?? null,
        timeout: JOIN_MS,
      }),
  );
  return client;
}

async function hear(topic: string, onHint: () => void): Promise<Hearing> {
  if (!project) throw new Error("no project");
  const realtime = await connect(project);
  await realtime.setAuth();
  const channel = realtime.channel(topic, { config: { private: true } });
  channel.on("broadcast", { event: "hint" }, onHint);
  let lose: (reason: Error) => void = () => undefined;
  const lost = new Promise<never>((_, reject) => {
    lose = reject;
  });
  // Nobody may be awaiting it when it is lost.
  lost.catch(() => undefined);
  const leave = () => void realtime.removeChannel(channel);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("not joined in time")), JOIN_MS);
      channel.subscribe((status) => {
        clearTimeout(timer);
        if (status === "SUBSCRIBED") return resolve();
        const reason = new Error(status);
        reject(reason);
        lose(reason);
      });
    });
  } catch (error) {
    leave();
    throw error;
  }
  return { lost, leave };
}
