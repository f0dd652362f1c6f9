/** The API's shapes as this client uses them. Names and fields are those of `/openapi.json`. */
export type Usage = {
  input_tokens: number;
  output_tokens: number;
  cached_input_tokens?: number;
  cache_write_tokens?: number;
};

export type ServerConfig = {
  mode: string;
  version: string;
  setup_needed: boolean;
  auth: string;
  model: { default: string; offline: boolean };
  embedder: { id: string; dimensions: number; note?: string | null };
};

export type User = { id: string; email: string; display_name: string; created_at: string };
export type Membership = { workspace: { id: string; name: string; created_at: string }; role: "owner" | "member" };
export type SessionAnswer = {
  user: User;
  session: { id: string; expires_at: string };
  workspaces: Membership[];
};

export type Agent = {
  id: string;
  kind: "companion_primary" | "executor_primary" | "specialist";
  name: string;
  model?: string | null;
  active: boolean;
};

export type Conversation = {
  id: string;
  agent_id: string;
  title: string;
  archived: boolean;
  created_at: string;
  updated_at: string;
  active_run?: string | null;
};

export type ToolStatus = "started" | "succeeded" | "failed" | "refused" | "unknown";
export type MessageStatus = "complete" | "stopped" | "interrupted" | "limited" | "redacted";

export type MessageTrace = {
  model: string;
  offline: boolean;
  usage: Usage;
  cost_micros?: number | null;
  tools: { call_id: string; name: string; status: ToolStatus }[];
  recalled: string[];
  remembered: string[];
};

export type Message = {
  id: string;
  conversation_id: string;
  ordinal: number;
  role: "user" | "assistant";
  status: MessageStatus;
  text: string;
  parent_id?: string | null;
  run_id?: string | null;
  agent_id?: string | null;
  trace?: MessageTrace | null;
  created_at: string;
};

export type MessageHit = {
  conversation_id: string;
  title: string;
  message_id: string;
  role: "user" | "assistant";
  snippet: string;
  created_at: string;
};

export type RunStatus =
  | "queued"
  | "running"
  | "done"
  | "failed"
  | "cancelled"
  | "interrupted"
  | "needs_review"
  | "parked";

export type Run = {
  id: string;
  conversation_id: string;
  message_id: string;
  reply_id: string;
  status: RunStatus;
  attempt: number;
  last_seq: number;
  reason?: string | null;
};

export type TurnReceipt = { message_id: string; run_id: string; reply_id: string };

export type Memory = {
  id: string;
  domain: "episodic" | "semantic" | "working";
  text: string;
  speaker?: string | null;
  visibility: "shared" | "private";
  sensitive: boolean;
  egress: "any" | "local_only";
  taint: "trusted" | "untrusted";
  review: "accepted" | "proposed" | "rejected";
  occurred_at: string;
  valid_to?: string | null;
  superseded_by?: string | null;
  redacted_at?: string | null;
  created_at: string;
};

export type MemoryProvenance = {
  memory: Memory;
  message?: Message | null;
  conversation?: Conversation | null;
  run?: Run | null;
  agent?: Agent | null;
  superseded: Memory[];
};

export type Page<T> = { items: T[]; next_cursor?: string | null };
