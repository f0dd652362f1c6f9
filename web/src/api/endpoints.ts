import { type Ask, ask } from "./http";
import type {
  Agent,
  Conversation,
  Memory,
  MemoryProvenance,
  Message,
  MessageHit,
  Page,
  Run,
  ServerConfig,
  SessionAnswer,
  TurnReceipt,
} from "./types";

const get = <T>(path: string, rest?: Ask) => ask<T>("GET", path, rest);
const post = <T>(path: string, body?: unknown, rest?: Ask) => ask<T>("POST", path, { ...rest, body });
const patch = <T>(path: string, body: unknown) => ask<T>("PATCH", path, { body });

/** The part of the address that names a workspace. */
const at = (workspace: string) => `/v1/workspaces/${workspace}`;

export type SetupForm = {
  token: string;
  email: string;
  password: string;
  display_name: string;
  workspace_name: string;
  companion_name: string;
};

export const getConfig = () => get<ServerConfig>("/v1/config");
export const setUp = (form: SetupForm) => post<SessionAnswer>("/v1/setup", form, { mayBeSignedOut: true });
export const signIn = (form: { email: string; password: string }) =>
  post<SessionAnswer>("/v1/auth/sign-in", form, { mayBeSignedOut: true });
export const getSession = () => get<SessionAnswer>("/v1/auth/session", { mayBeSignedOut: true });
export const signOut = (everywhere: boolean) =>
  ask<void>("POST", "/v1/auth/sign-out", { query: everywhere ? { everywhere } : {} });

export const getAgents = (workspace: string) => get<{ items: Agent[] }>(`${at(workspace)}/agents`);

export const listConversations = (workspace: string, archived: boolean, cursor?: string) =>
  get<Page<Conversation>>(`${at(workspace)}/conversations`, {
    query: { archived: archived || undefined, cursor, limit: 50 },
  });
export const searchConversations = (workspace: string, q: string, signal?: AbortSignal) =>
  get<Page<MessageHit>>(`${at(workspace)}/conversations/search`, { query: { q, limit: 30 }, signal });
export const createConversation = (workspace: string, id: string) =>
  post<Conversation>(`${at(workspace)}/conversations`, { id });
export const getConversation = (workspace: string, id: string) =>
  get<Conversation>(`${at(workspace)}/conversations/${id}`);
export const editConversation = (workspace: string, id: string, edit: { title?: string; archived?: boolean }) =>
  patch<Conversation>(`${at(workspace)}/conversations/${id}`, edit);

export const listMessages = (workspace: string, conversation: string, cursor?: string) =>
  get<Page<Message>>(`${at(workspace)}/conversations/${conversation}/messages`, { query: { cursor, limit: 50 } });
export const sendMessage = (workspace: string, conversation: string, text: string, key: string) =>
  post<TurnReceipt>(
    `${at(workspace)}/conversations/${conversation}/messages`,
    { text },
    { headers: { "idempotency-key": key } },
  );
export const retryMessage = (workspace: string, conversation: string, message: string, mode: "restart" | "continue") =>
  post<TurnReceipt>(`${at(workspace)}/conversations/${conversation}/messages/${message}/retry`, { mode });

export const getRun = (workspace: string, run: string) => get<Run>(`${at(workspace)}/runs/${run}`);
export const cancelRun = (workspace: string, run: string) => post<Run>(`${at(workspace)}/runs/${run}/cancel`);
/** Where a run's events are streamed from. */
export const runEvents = (workspace: string, run: string, after: number) =>
  `${at(workspace)}/runs/${run}/events?after=${after}`;

export const getMemory = (workspace: string, id: string) => get<Memory>(`${at(workspace)}/memories/${id}`);
export const getProvenance = (workspace: string, id: string) =>
  get<MemoryProvenance>(`${at(workspace)}/memories/${id}/provenance`);
