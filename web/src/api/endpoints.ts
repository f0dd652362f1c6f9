import { call } from "./call";
import type { components } from "./schema.gen";
import type {
  Acceptance,
  Decision,
  InboxKind,
  NoticeAction,
  ReviewState,
  Role,
  Rule,
  RunRequest,
  SetupRequest,
} from "./types";

const one = (workspace_id: string, id: string) => ({ path: { workspace_id, id } });

export const getConfig = () => call("get", "/v1/config");
export const checkSetupToken = (token: string) =>
  call("post", "/v1/setup/token", { body: { token }, mayBeSignedOut: true });
export const setUp = (body: SetupRequest) => call("post", "/v1/setup", { body, mayBeSignedOut: true });
export const signIn = (body: { email: string; password: string }) =>
  call("post", "/v1/auth/sign-in", { body, mayBeSignedOut: true });
export const getSession = () => call("get", "/v1/auth/session", { mayBeSignedOut: true });
export const signOut = (everywhere: boolean) =>
  call("post", "/v1/auth/sign-out", { query: everywhere ? { everywhere } : {} });

export const listMembers = (workspace_id: string, cursor?: string) =>
  call("get", "/v1/workspaces/{workspace_id}/members", { path: { workspace_id }, query: { cursor, limit: 100 } });
export const changeRole = (workspace: string, id: string, role: Role) =>
  call("patch", "/v1/workspaces/{workspace_id}/members/{id}", { ...one(workspace, id), body: { role } });
export const removeMember = (workspace: string, id: string) =>
  call("delete", "/v1/workspaces/{workspace_id}/members/{id}", one(workspace, id));
export const leaveWorkspace = (workspace_id: string) =>
  call("post", "/v1/workspaces/{workspace_id}/leave", { path: { workspace_id } });

export const listInvitations = (workspace_id: string, cursor?: string) =>
  call("get", "/v1/workspaces/{workspace_id}/invitations", { path: { workspace_id }, query: { cursor, limit: 100 } });
export const invite = (workspace_id: string, body: { email: string; role: Role; expires_in_hours: number }) =>
  call("post", "/v1/workspaces/{workspace_id}/invitations", { path: { workspace_id }, body });
export const revokeInvitation = (workspace: string, id: string) =>
  call("delete", "/v1/workspaces/{workspace_id}/invitations/{id}", one(workspace, id));
/** The token is sent in the body, because addresses are kept in histories and logs. */
export const lookUpInvitation = (token: string) =>
  call("post", "/v1/invitations/lookup", { body: { token }, mayBeSignedOut: true });
export const acceptInvitation = (body: Acceptance) =>
  call("post", "/v1/invitations/accept", { body, mayBeSignedOut: true });

export const getAgents = (workspace_id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/agents", { path: { workspace_id } });

export const listConversations = (workspace_id: string, archived: boolean, cursor?: string) =>
  call("get", "/v1/workspaces/{workspace_id}/conversations", {
    path: { workspace_id },
    query: { archived: archived || undefined, cursor, limit: 50 },
  });
export const searchConversations = (workspace_id: string, q: string, signal?: AbortSignal) =>
  call("get", "/v1/workspaces/{workspace_id}/conversations/search", {
    path: { workspace_id },
    query: { q, limit: 30 },
    signal,
  });
export const createConversation = (workspace_id: string, id: string) =>
  call("post", "/v1/workspaces/{workspace_id}/conversations", { path: { workspace_id }, body: { id } });
export const getConversation = (workspace: string, id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/conversations/{id}", one(workspace, id));
export const editConversation = (workspace: string, id: string, body: { title?: string; archived?: boolean }) =>
  call("patch", "/v1/workspaces/{workspace_id}/conversations/{id}", { ...one(workspace, id), body });

export const listMessages = (workspace: string, conversation: string, cursor?: string) =>
  call("get", "/v1/workspaces/{workspace_id}/conversations/{id}/messages", {
    ...one(workspace, conversation),
    query: { cursor, limit: 50 },
  });
export const sendMessage = (workspace: string, conversation: string, text: string, key: string) =>
  call("post", "/v1/workspaces/{workspace_id}/conversations/{id}/messages", {
    ...one(workspace, conversation),
    body: { text },
    headers: { "idempotency-key": key },
  });
export const retryMessage = (workspace_id: string, id: string, message_id: string, mode: "restart" | "continue") =>
  call("post", "/v1/workspaces/{workspace_id}/conversations/{id}/messages/{message_id}/retry", {
    path: { workspace_id, id, message_id },
    body: { mode },
  });

export const getRun = (workspace: string, id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/runs/{id}", one(workspace, id));
export const cancelRun = (workspace: string, id: string) =>
  call("post", "/v1/workspaces/{workspace_id}/runs/{id}/cancel", one(workspace, id));
export const pauseRun = (workspace: string, id: string) =>
  call("post", "/v1/workspaces/{workspace_id}/runs/{id}/pause", one(workspace, id));
export const resumeRun = (workspace: string, id: string) =>
  call("post", "/v1/workspaces/{workspace_id}/runs/{id}/resume", one(workspace, id));
/** The address of a run's event stream. */
export const runEvents = (workspace: string, run: string, after: number) =>
  `/v1/workspaces/${workspace}/runs/${run}/events?brief=true&after=${after}`;

export const getMemory = (workspace: string, id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/memories/{id}", one(workspace, id));
export const listProposals = (workspace_id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/memories", {
    path: { workspace_id },
    query: { review: "proposed", limit: 50 },
  });
export const reviewMemory = (workspace: string, id: string, review: ReviewState) =>
  call("patch", "/v1/workspaces/{workspace_id}/memories/{id}", { ...one(workspace, id), body: { review } });
export const getProvenance = (workspace: string, id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/memories/{id}/provenance", one(workspace, id));

export const listNotices = (workspace_id: string, cursor?: string) =>
  call("get", "/v1/workspaces/{workspace_id}/notices", { path: { workspace_id }, query: { cursor, limit: 50 } });
export const settleNotice = (workspace: string, id: string, action: NoticeAction) =>
  call("post", "/v1/workspaces/{workspace_id}/notices/{id}", { ...one(workspace, id), body: { action } });

export const listInbox = (workspace_id: string, kind?: InboxKind, cursor?: string) =>
  call("get", "/v1/workspaces/{workspace_id}/inbox", { path: { workspace_id }, query: { kind, cursor, limit: 30 } });
export const countInbox = (workspace_id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/inbox/count", { path: { workspace_id } });
/** What the runs of a conversation wait for. */
export const listOpenRequests = (workspace_id: string, conversation_id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/requests", {
    path: { workspace_id },
    query: { conversation_id, open: true, limit: 200 },
  });
export const getRequest = (workspace: string, id: string): Promise<RunRequest> =>
  call("get", "/v1/workspaces/{workspace_id}/requests/{id}", one(workspace, id));
export const decideRequest = (workspace: string, id: string, decision: Decision): Promise<RunRequest> =>
  call("post", "/v1/workspaces/{workspace_id}/requests/{id}/decide", {
    ...one(workspace, id),
    // The generated type of an object of any shape has no properties at all.
    body: decision as components["schemas"]["Decision"],
  });
/** The address of the person's feed. */
export const personFeed = (workspace: string) => `/v1/workspaces/${workspace}/feed`;

export const getPolicy = (workspace_id: string) =>
  call("get", "/v1/workspaces/{workspace_id}/policy", { path: { workspace_id } });
export const writePolicy = (workspace_id: string, from: number, rules: Rule[]) =>
  call("put", "/v1/workspaces/{workspace_id}/policy", { path: { workspace_id }, body: { from, rules } });

/** A device that shows this code. */
export const getDevice = (user_code: string) => call("get", "/v1/device/{user_code}", { path: { user_code } });
export const approveDevice = (user_code: string) => call("post", "/v1/device/approve", { body: { user_code } });
export const denyDevice = (user_code: string) => call("post", "/v1/device/deny", { body: { user_code } });
