import { noteAbsent } from "./absent";
import { bearer } from "./bearer";
import { noteLost, noteReached } from "./reachability";
import type { components } from "./schema.gen";
import { noteSignedOut } from "./signed-out";

/** What went wrong, for the page to act on: a code of the API, or of a failure in the browser. */
export type ProblemCode = components["schemas"]["ProblemCode"] | "unreachable" | "unknown" | "confirm_address";

/** An error answer of the API, or no answer at all (`status` 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: ProblemCode,
    detail: string,
    readonly retryAfterSeconds?: number,
    readonly fields: Record<string, string> = {},
  ) {
    super(detail);
    this.name = "Problem";
  }

  /** Whether Duet could not be reached, so that the same request may succeed later. */
  get lost(): boolean {
    return this.status === 0;
  }
}

type ProblemBody = { detail?: string; title?: string; code?: ProblemCode; errors?: unknown };

/** Reads a problem+json answer, or makes do with any other. */
export async function problemOf(response: Response): Promise<Problem> {
  let body: ProblemBody = {};
  try {
    body = (await response.json()) as ProblemBody;
  } catch {
    // For instance a proxy's page: only the status is usable.
  }
  const wait = Number(response.headers.get("retry-after"));
  const detail = body.detail ?? body.title ?? `Something went wrong (status ${response.status}). Try again.`;
  return new Problem(
    response.status,
    // A proxy that signs people out sends no code.
    body.code ?? (response.status === 401 ? "not_signed_in" : "unknown"),
    detail,
    Number.isFinite(wait) && wait > 0 ? wait : undefined,
    fieldsOf(body.errors),
  );
}

/** `errors` as `{field: sentence}`, from either a list of `{field, detail}` or an object. */
function fieldsOf(errors: unknown): Record<string, string> {
  if (Array.isArray(errors)) {
    return Object.fromEntries(
      errors.flatMap((entry) => {
        const { field, pointer, detail, message } = (entry ?? {}) as Record<string, unknown>;
        const name = String(field ?? pointer ?? "").replace(/^[#/]+/, "");
        return name ? [[name, String(detail ?? message ?? "")]] : [];
      }),
    );
  }
  if (errors && typeof errors === "object") {
    return Object.fromEntries(Object.entries(errors).map(([name, text]) => [name, String(text)]));
  }
  return {};
}

export type Ask = {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Leave a 401 to the caller: here it is an answer, not the end of a sign-in. */
  mayBeSignedOut?: boolean;
};

const LOST = "Duet can’t be reached. It may be restarting. Nothing you wrote is lost.";

/** Makes one request. Writes carry the header that no form on another site can send. */
export async function ask<T>(
  method: string,
  path: string,
  { query, body, headers, signal, mayBeSignedOut }: Ask = {},
): Promise<T> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) search.set(name, String(value));
  let response: Response;
  try {
    response = await fetch(search.size ? `${path}?${search}` : path, {
      method,
      credentials: "same-origin",
      cache: "no-store",
      signal,
      headers: {
        accept: "application/json",
        ...(method === "GET" ? {} : { "x-duet-csrf": "1" }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(await bearer()),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    noteLost();
    throw new Problem(0, "unreachable", LOST);
  }
  noteReached();
  if (!response.ok) {
    const problem = await problemOf(response);
    if (problem.code === "not_signed_in" && !mayBeSignedOut) noteSignedOut();
    noteAbsent(problem, path);
    throw problem;
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}
