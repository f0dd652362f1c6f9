import type { components } from "./schema.gen";

/** Names for the API's shapes, whose contents are generated from its description. */
type Schemas = components["schemas"];

export type ServerInfo = Schemas["ServerInfo"];
export type SessionAnswer = Schemas["SessionAnswer"];
export type Membership = Schemas["Membership"];
export type Member = Schemas["Member"];
export type Role = Schemas["Role"];
export type Invitation = Schemas["Invitation"];
export type CreatedInvitation = Schemas["CreatedInvitation"];
export type Invited = Schemas["Invited"];
export type Acceptance = Schemas["Acceptance"];
export type SetupRequest = Schemas["SetupRequest"];
export type Agent = Schemas["Agent"];
export type Conversation = Schemas["Conversation"];
export type Message = Schemas["Message"];
export type MessageHit = Schemas["MessageHit"];
export type MessageStatus = Schemas["MessageStatus"];
export type ToolStatus = Schemas["ToolStatus"];
export type TurnReceipt = Schemas["TurnReceipt"];
export type Memory = Schemas["Memory"];
export type ReviewState = Schemas["ReviewState"];
export type MemoryProvenance = Schemas["MemoryProvenance"];
export type AguiEvent = Schemas["AguiEvent"];
export type AguiCustom = Schemas["AguiCustom"];
export type RunResult = Schemas["Metadata_RunResult"]["duet"];
export type EventsPage = Schemas["EventsPage"];
export type PersonalNotice = Schemas["Notice"];
export type NoticeAction = Schemas["NoticeAction"];
export type Run = Schemas["Run"];
export type RunRequest = Omit<Schemas["Request"], "decision"> & { decision?: Decision | null };
export type RequestKind = Schemas["RequestKind"];
/** The arguments of a call, or answers by field: the description says only that they are objects. */
export type JsonObject = { [name: string]: unknown };
export type Decision =
  | Exclude<Schemas["Decision"], { decision: "approve" | "respond" }>
  | { decision: "approve"; arguments?: JsonObject | null }
  | { decision: "respond"; answers: JsonObject };
export type InboxItem = { item: "request"; request: RunRequest } | { item: "memory"; memory: Memory };
export type VoidReason = Schemas["VoidReason"];
export type InboxKind = Schemas["InboxKind"];
export type DeviceLogin = Schemas["DeviceLogin"];
export type Changed = Schemas["Changed"];
export type Rule = Schemas["Rule"];
export type Say = Schemas["Say"];
export type ToolCategory = Schemas["ToolCategory"];
export type PolicyVersion = Schemas["PolicyVersion"];

/** Token counts of a reply, as far as they are shown. */
export type Usage = Pick<Schemas["Usage"], "input_tokens" | "output_tokens">;
