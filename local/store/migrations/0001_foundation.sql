-- The foundation: people, workspaces, agents, conversations, runs with their events, keys and the audit log. Ids are 16 bytes
-- (UUIDv7), times milliseconds since 1970 UTC. Primary and foreign keys of a tenant's rows start with the workspace, so that a row
-- cannot refer to another workspace's.

CREATE TABLE installation (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    setup_token_hash BLOB,
    owner_since      INTEGER,
    proved_at        INTEGER -- when a write was last proved possible
) STRICT;
INSERT INTO installation (id) VALUES (1);

-- Compared with the mark file beside this one: how often the writer has committed, and whether it has closed the file cleanly since.
-- A file with fewer commits than its mark has lost acknowledged ones. `base` is the least count of the file without its log: an older
-- file is not the one that the log belongs to.
CREATE TABLE file_state (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    file    BLOB NOT NULL CHECK (length(file) = 16), -- which file the mark belongs to
    commits INTEGER NOT NULL DEFAULT 0,
    base    INTEGER NOT NULL DEFAULT 0,
    closed  INTEGER NOT NULL DEFAULT 1 CHECK (closed IN (0, 1))
) STRICT;
INSERT INTO file_state (id, file) VALUES (1, randomblob(16));

CREATE TABLE user (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    email        TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
    user_id       BLOB PRIMARY KEY REFERENCES user (id),
    password_hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    id          BLOB PRIMARY KEY CHECK (length(id) = 16),
    user_id     BLOB NOT NULL REFERENCES user (id),
    secret_hash BLOB NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    by_device   INTEGER NOT NULL DEFAULT 0 CHECK (by_device IN (0, 1)),
    by_machine  INTEGER NOT NULL DEFAULT 0 CHECK (by_machine IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_user ON session (user_id);
CREATE INDEX session_by_expiry ON session (expires_at);

CREATE TABLE workspace (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    name       TEXT NOT NULL,
    created_by BLOB NOT NULL REFERENCES user (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Data keys of field encryption, wrapped by a key that is not in this file.
CREATE TABLE workspace_key (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    version      INTEGER NOT NULL,
    wrapped      BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    user_id      BLOB NOT NULL REFERENCES user (id),
    role         TEXT NOT NULL CHECK (role IN ('owner', 'member')),
    joined_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_by_user ON member (user_id);

CREATE TABLE agent (
    workspace_id  BLOB NOT NULL REFERENCES workspace (id),
    id            BLOB NOT NULL CHECK (length(id) = 16),
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    prompt        TEXT NOT NULL,
    model         TEXT,
    capabilities  TEXT NOT NULL,
    memory_scopes TEXT NOT NULL,
    tools         TEXT NOT NULL,
    active        INTEGER NOT NULL CHECK (active IN (0, 1)),
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE soul_version (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    version      INTEGER NOT NULL,
    soul         TEXT NOT NULL,
    author       BLOB NOT NULL REFERENCES user (id),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, version)
) STRICT, WITHOUT ROWID;

-- Versions of the policy: which calls may happen, and which wait for a person.
CREATE TABLE policy_version (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    version      INTEGER NOT NULL,
    rules        TEXT NOT NULL,
    author       BLOB NOT NULL REFERENCES user (id),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id           BLOB NOT NULL CHECK (length(id) = 16),
    user_id      BLOB NOT NULL REFERENCES user (id),
    agent_id     BLOB NOT NULL,
    title        TEXT NOT NULL,
    archived     INTEGER NOT NULL CHECK (archived IN (0, 1)),
    last_ordinal INTEGER NOT NULL DEFAULT 0,
    head_id      BLOB, -- the newest message of the branch that is shown
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    deleted_at   INTEGER, -- the row stays, because its runs refer to it, but holds no text
    PRIMARY KEY (workspace_id, id),
    FOREIGN KEY (workspace_id, agent_id) REFERENCES agent (workspace_id, id),
    CHECK (deleted_at IS NULL OR title = '')
) STRICT, WITHOUT ROWID;
CREATE INDEX conversation_by_user ON conversation (workspace_id, user_id, archived, updated_at DESC, id DESC);

-- Labels are bits, so that text made of several texts carries the union of their labels: 1 untrusted, 2 for local models only, 4
-- sensitive, 8 contains another member's shared memory. `row` is the full-text index's name for a message; user_id is its
-- conversation's, so that a search can check ownership without a join. Messages are a tree: `parent_id` is the one before, and a reply may
-- come after others than the one that it answers. What is not on the way from the conversation's head to the root is `aside`: lists and
-- prompts leave it out. Along a branch ordinals only grow.
CREATE TABLE message (
    row             INTEGER PRIMARY KEY,
    workspace_id    BLOB NOT NULL,
    id              BLOB NOT NULL CHECK (length(id) = 16),
    conversation_id BLOB NOT NULL,
    user_id         BLOB NOT NULL,
    ordinal         INTEGER NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    status          TEXT NOT NULL,
    text            TEXT NOT NULL,
    parent_id       BLOB,
    answers_id      BLOB,
    run_id          BLOB,
    agent_id        BLOB,
    trace           TEXT,
    labels          INTEGER NOT NULL DEFAULT 0 CHECK (labels BETWEEN 0 AND 15),
    aside           INTEGER NOT NULL DEFAULT 0 CHECK (aside IN (0, 1)),
    created_at      INTEGER NOT NULL,
    UNIQUE (workspace_id, id),
    UNIQUE (workspace_id, conversation_id, ordinal),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversation (workspace_id, id),
    FOREIGN KEY (workspace_id, parent_id) REFERENCES message (workspace_id, id),
    FOREIGN KEY (workspace_id, answers_id) REFERENCES message (workspace_id, id)
) STRICT;
CREATE INDEX message_by_parent ON message (workspace_id, parent_id, conversation_id, role, ordinal);
CREATE INDEX message_by_answered ON message (workspace_id, answers_id, ordinal) WHERE answers_id IS NOT NULL;

-- Messages as the caller may see them: an agent whose model runs elsewhere sees that text for local models only exists, but not the
-- text.
CREATE VIEW message_shown AS
    SELECT row, workspace_id, id, conversation_id, user_id, ordinal, role, status,
           CASE WHEN labels & 2 = 0 OR duet_locality() = 'local' THEN text ELSE '' END AS text,
           parent_id, answers_id, run_id, agent_id,
           CASE WHEN labels & 2 = 0 OR duet_locality() = 'local' THEN trace END AS trace,
           labels, aside, created_at
    FROM message;

-- Full text over messages. The index holds no copy of the text, and with secure-delete a removed text leaves no trace in its
-- segments. `owner` is one token for workspace and person, so that a search only walks the caller's own entries.
CREATE VIEW message_searchable (row, owner, text) AS
    SELECT row, lower(hex(workspace_id)) || lower(hex(user_id)), text FROM message;
CREATE VIRTUAL TABLE message_fts USING fts5 (
    owner, text,
    content = 'message_searchable', content_rowid = 'row',
    tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO message_fts (message_fts, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER message_indexed AFTER INSERT ON message BEGIN
    INSERT INTO message_fts (rowid, owner, text)
    VALUES (new.row, lower(hex(new.workspace_id)) || lower(hex(new.user_id)), new.text);
END;
CREATE TRIGGER message_reindexed AFTER UPDATE OF text ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, owner, text)
    VALUES ('delete', old.row, lower(hex(old.workspace_id)) || lower(hex(old.user_id)), old.text);
    INSERT INTO message_fts (rowid, owner, text)
    VALUES (new.row, lower(hex(new.workspace_id)) || lower(hex(new.user_id)), new.text);
END;
CREATE TRIGGER message_stays AFTER UPDATE OF row, workspace_id, user_id, conversation_id, id ON message BEGIN
    SELECT raise(ABORT, 'a message stays where it is');
END;
CREATE TRIGGER message_unindexed AFTER DELETE ON message BEGIN
    INSERT INTO message_fts (message_fts, rowid, owner, text)
    VALUES ('delete', old.row, lower(hex(old.workspace_id)) || lower(hex(old.user_id)), old.text);
END;

-- last_seq and last_hash are the head of the run's event chain: a truncated log does not end there. stalls counts claims without
-- progress. commit_id is the worker's newest write and commit_seq its first event; they identify a write that is repeated because its
-- answer was lost. A lease has no time: it holds while its claim lives in the process that has the file. Without an
-- end a run is `active`; it is `claimable` unless it waits for a person. It `holds` its conversation, where only one may be claimable,
-- until it first waits. It outlives its messages, which are deleted with their conversation.
CREATE TABLE run (
    workspace_id    BLOB NOT NULL,
    id              BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    user_id         BLOB NOT NULL,
    conversation_id BLOB NOT NULL,
    message_id      BLOB NOT NULL,
    reply_id        BLOB NOT NULL,
    agent_id        BLOB NOT NULL,
    status          TEXT NOT NULL,
    active          INTEGER NOT NULL GENERATED ALWAYS AS (status IN ('queued', 'running', 'waiting')) STORED,
    claimable       INTEGER NOT NULL GENERATED ALWAYS AS (status IN ('queued', 'running')) STORED,
    holds           INTEGER NOT NULL DEFAULT 1 CHECK (holds IN (0, 1)),
    attempt         INTEGER NOT NULL DEFAULT 0,
    stalls          INTEGER NOT NULL DEFAULT 0,
    last_seq        INTEGER NOT NULL DEFAULT 0,
    last_hash       BLOB NOT NULL,
    reason          TEXT,
    labels          INTEGER NOT NULL DEFAULT 0 CHECK (labels BETWEEN 0 AND 15), -- of all that it has read
    lease_token     BLOB,
    commit_id       BLOB,
    commit_seq      INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id),
    FOREIGN KEY (workspace_id, conversation_id) REFERENCES conversation (workspace_id, id),
    FOREIGN KEY (workspace_id, agent_id) REFERENCES agent (workspace_id, id)
) STRICT, WITHOUT ROWID;
-- A run answers a message of its own conversation. Not a foreign key, because the message is deleted before the run.
CREATE TRIGGER run_answers_its_message BEFORE INSERT ON run
WHEN NOT EXISTS (SELECT 1 FROM message m WHERE m.workspace_id = new.workspace_id AND m.id = new.message_id
                 AND m.conversation_id = new.conversation_id AND m.user_id = new.user_id) BEGIN
    SELECT raise(ABORT, 'a run answers a message of its conversation');
END;
CREATE TRIGGER run_keeps_its_message BEFORE UPDATE OF workspace_id, message_id, conversation_id, user_id ON run BEGIN
    SELECT raise(ABORT, 'a run answers the message that it was made for');
END;
CREATE UNIQUE INDEX run_one_active ON run (workspace_id, conversation_id) WHERE claimable = 1 AND holds = 1;
CREATE INDEX run_to_claim ON run (created_at, id) WHERE claimable = 1;
CREATE INDEX run_waiting ON run (workspace_id, user_id, conversation_id) WHERE status = 'waiting';
CREATE INDEX run_by_conversation ON run (workspace_id, conversation_id, created_at, id);
CREATE TRIGGER run_labels_worsen BEFORE UPDATE ON run WHEN old.labels & ~new.labels <> 0 BEGIN
    SELECT raise(ABORT, 'the labels of a run only get worse');
END;

CREATE TABLE run_event (
    workspace_id BLOB NOT NULL,
    run_id       BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    at           INTEGER NOT NULL,
    payload_hash BLOB NOT NULL,
    chain_hash   BLOB NOT NULL,
    PRIMARY KEY (workspace_id, run_id, seq),
    FOREIGN KEY (workspace_id, run_id) REFERENCES run (workspace_id, id)
) STRICT, WITHOUT ROWID;
-- Folding a log reads its steps, not the deltas of those that have ended.
CREATE INDEX run_event_steps ON run_event (workspace_id, run_id, seq, kind) WHERE kind <> 'delta';
CREATE TRIGGER run_event_fixed BEFORE UPDATE ON run_event BEGIN
    SELECT raise(ABORT, 'events are append-only');
END;
CREATE TRIGGER run_event_kept BEFORE DELETE ON run_event BEGIN
    SELECT raise(ABORT, 'events are append-only');
END;

-- Redaction empties payload and salt; the row stays, so that a payload lost in any other way is noticed.
CREATE TABLE run_event_payload (
    workspace_id BLOB NOT NULL,
    run_id       BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    salt         BLOB,
    payload      TEXT,
    redacted_at  INTEGER,
    PRIMARY KEY (workspace_id, run_id, seq),
    FOREIGN KEY (workspace_id, run_id, seq) REFERENCES run_event (workspace_id, run_id, seq),
    CHECK ((payload IS NULL) = (redacted_at IS NOT NULL) AND (payload IS NULL) = (salt IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TRIGGER run_event_payload_fixed BEFORE UPDATE ON run_event_payload WHEN new.payload IS NOT NULL BEGIN
    SELECT raise(ABORT, 'payloads can only be redacted');
END;
CREATE TRIGGER run_event_payload_kept BEFORE DELETE ON run_event_payload BEGIN
    SELECT raise(ABORT, 'payloads can only be redacted');
END;

CREATE TABLE run_event_mention (
    workspace_id BLOB NOT NULL,
    memory_id    BLOB NOT NULL,
    run_id       BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, memory_id, run_id, seq),
    FOREIGN KEY (workspace_id, run_id, seq) REFERENCES run_event (workspace_id, run_id, seq)
) STRICT, WITHOUT ROWID;

-- Hints on their way: to those who follow a run (`run_id`, `last_seq`), to people (`changed`, and whose: `user_id`), or else to
-- workers.
CREATE TABLE run_event_outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id BLOB NOT NULL,
    run_id       BLOB,
    last_seq     INTEGER,
    user_id      BLOB,
    changed      TEXT,
    CHECK ((run_id IS NULL) = (last_seq IS NULL) AND (run_id IS NULL OR changed IS NULL) AND (user_id IS NULL) = (changed IS NULL))
) STRICT;

-- What runs ask of people. `arguments` and `approved` are JSON in its canonical form (RFC 8785); `approved` is what was approved, which a
-- person may have changed. Redaction empties every text and the salt.
CREATE TABLE request (
    workspace_id    BLOB NOT NULL,
    id              BLOB NOT NULL CHECK (length(id) = 16),
    run_id          BLOB NOT NULL,
    user_id         BLOB NOT NULL,
    conversation_id BLOB NOT NULL,
    step            INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    agent_id        BLOB NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('approval', 'question', 'review')),
    tool            TEXT NOT NULL,
    arguments       TEXT,
    salt            BLOB,
    hash            BLOB NOT NULL CHECK (length(hash) = 32),
    why             TEXT NOT NULL,
    decider         TEXT NOT NULL CHECK (decider IN ('asker', 'owner')),
    policy_version  INTEGER NOT NULL,
    labels          INTEGER NOT NULL CHECK (labels BETWEEN 0 AND 15),
    state           TEXT NOT NULL CHECK (state IN ('open', 'approved', 'rejected', 'answered', 'dismissed', 'expired', 'voided')),
    decision        TEXT,
    approved        TEXT,
    decided_by      BLOB,
    decided_at      INTEGER,
    used_at         INTEGER,
    pending         INTEGER NOT NULL GENERATED ALWAYS AS (state = 'open' OR (state = 'approved' AND used_at IS NULL)) STORED,
    redacted_at     INTEGER,
    expires_at      INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id),
    FOREIGN KEY (workspace_id, run_id) REFERENCES run (workspace_id, id),
    CHECK (length(CAST(tool AS BLOB)) <= 200 AND length(CAST(why AS BLOB)) <= 8192),
    CHECK (length(CAST(arguments AS BLOB)) <= 65536 AND length(CAST(approved AS BLOB)) <= 65536 AND length(CAST(decision AS BLOB)) <= 262144),
    CHECK ((state = 'open') = (decided_at IS NULL)),
    CHECK (used_at IS NULL OR state = 'approved'),
    CHECK ((redacted_at IS NULL) = (arguments IS NOT NULL) AND (arguments IS NULL) = (salt IS NULL)),
    CHECK (redacted_at IS NULL OR (why = '' AND decision IS NULL AND approved IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX request_by_run ON request (workspace_id, run_id);
CREATE INDEX request_by_person ON request (workspace_id, user_id, created_at, id);
CREATE INDEX request_open ON request (workspace_id, created_at, id) WHERE state = 'open';
CREATE INDEX request_pending ON request (workspace_id, user_id, run_id) WHERE pending = 1;
CREATE INDEX request_by_expiry ON request (expires_at) WHERE pending = 1;
-- What was asked stays as it was asked, and a decision is final.
CREATE TRIGGER request_fixed BEFORE UPDATE ON request
WHEN new.workspace_id <> old.workspace_id OR new.id <> old.id OR new.conversation_id <> old.conversation_id OR new.step <> old.step
    OR new.position <> old.position OR new.agent_id <> old.agent_id
    OR new.run_id <> old.run_id OR new.user_id <> old.user_id OR new.kind <> old.kind OR new.tool <> old.tool OR new.hash <> old.hash
    OR new.decider <> old.decider OR new.policy_version <> old.policy_version OR new.labels <> old.labels
    OR new.expires_at <> old.expires_at OR new.created_at <> old.created_at
    OR (new.arguments IS NOT NULL AND new.arguments IS NOT old.arguments)
    OR (new.approved IS NOT NULL AND old.state <> 'open' AND new.approved IS NOT old.approved)
    OR (old.state <> 'open' AND new.state <> old.state AND NOT (old.pending AND new.state IN ('expired', 'voided')))
    OR (old.used_at IS NOT NULL AND new.used_at IS NOT old.used_at)
    OR (old.redacted_at IS NOT NULL AND new.redacted_at IS NOT old.redacted_at)
    OR (new.redacted_at IS NULL AND (new.why IS NOT old.why OR new.salt IS NOT old.salt))
    -- Decided once, then at most out of time, voided or redacted.
    OR (old.state <> 'open' AND new.state = old.state
        AND (new.decided_by IS NOT old.decided_by OR new.decided_at IS NOT old.decided_at
             OR (new.decision IS NOT old.decision AND NOT (new.redacted_at IS NOT NULL AND new.decision IS NULL))))
BEGIN
    SELECT raise(ABORT, 'a request stays as it was asked, and as it was decided');
END;
CREATE TRIGGER request_kept BEFORE DELETE ON request BEGIN
    SELECT raise(ABORT, 'requests are kept');
END;

CREATE TABLE idempotency_key (
    workspace_id BLOB NOT NULL,
    user_id      BLOB NOT NULL,
    key          TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    message_id   BLOB NOT NULL,
    run_id       BLOB NOT NULL,
    reply_id     BLOB NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_key_by_expiry ON idempotency_key (expires_at);

CREATE TABLE api_key (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id           BLOB NOT NULL CHECK (length(id) = 16),
    user_id      BLOB NOT NULL REFERENCES user (id),
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    secret_hash  BLOB NOT NULL UNIQUE,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_by_user ON api_key (workspace_id, user_id, created_at);

CREATE TABLE audit_entry (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    seq          INTEGER NOT NULL,
    id           BLOB NOT NULL CHECK (length(id) = 16),
    actor        BLOB NOT NULL,
    agent_id     BLOB,
    action       TEXT NOT NULL,
    target       TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    details      TEXT NOT NULL,
    at           INTEGER NOT NULL,
    chain_hash   BLOB NOT NULL,
    PRIMARY KEY (workspace_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER audit_entry_fixed BEFORE UPDATE ON audit_entry BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_entry_kept BEFORE DELETE ON audit_entry BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;

-- The head of a workspace's audit chain: a truncated log does not end there.
CREATE TABLE audit_head (
    workspace_id BLOB PRIMARY KEY REFERENCES workspace (id),
    seq          INTEGER NOT NULL,
    hash         BLOB NOT NULL
) STRICT, WITHOUT ROWID;
