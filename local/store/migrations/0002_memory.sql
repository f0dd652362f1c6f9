-- Memories, their full-text postings and vectors. Only memories that may be recalled (accepted, valid, not redacted: `live`) have
-- postings and vectors, so that ranking never meets anything else. Keys are small integers because postings and codes repeat them;
-- ids are unique only within their workspace, so that a taken id reveals nothing about another workspace.

CREATE TABLE embedding_model (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    UNIQUE (id, dimensions)
) STRICT;

-- Memories with the same audience. Postings, counters and codes are keyed by class: what a caller may not see is never read and never
-- counted.
CREATE TABLE memory_class (
    key          INTEGER PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    owner        BLOB NOT NULL CHECK (length(owner) IN (0, 16)), -- of private memories; empty for shared ones
    domain       TEXT NOT NULL,
    egress       TEXT NOT NULL,
    documents    INTEGER NOT NULL DEFAULT 0, -- in the full-text index
    length       INTEGER NOT NULL DEFAULT 0, -- their terms together
    UNIQUE (workspace_id, owner, domain, egress)
) STRICT;

-- What ranking reads: narrow rows. The rest is in memory_content.
CREATE TABLE memory (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id    BLOB NOT NULL REFERENCES workspace (id),
    id              BLOB NOT NULL CHECK (length(id) = 16),
    class           INTEGER NOT NULL REFERENCES memory_class (key),
    live            INTEGER NOT NULL CHECK (live IN (0, 1)),
    length          INTEGER, -- terms in the full-text index; null when it is not there
    conversation_id BLOB,
    ordinal         INTEGER,
    occurred_at     INTEGER NOT NULL,
    expires_at      INTEGER,
    created_at      INTEGER NOT NULL,
    supersedes      INTEGER REFERENCES memory (key),
    embedded        INTEGER REFERENCES embedding_model (key), -- the model whose vector it has
    UNIQUE (workspace_id, id),
    CHECK ((conversation_id IS NULL) = (ordinal IS NULL))
) STRICT;
CREATE INDEX memory_by_time ON memory (workspace_id, created_at, id);
CREATE INDEX memory_by_place ON memory (workspace_id, conversation_id, ordinal) WHERE conversation_id IS NOT NULL;
CREATE INDEX memory_by_expiry ON memory (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX memory_by_predecessor ON memory (supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX memory_to_embed ON memory (workspace_id, embedded, key) WHERE live = 1;

CREATE TABLE memory_content (
    memory             INTEGER PRIMARY KEY REFERENCES memory (key),
    user_id            BLOB NOT NULL REFERENCES user (id),
    text               TEXT,    -- null when sealed or redacted
    sealed             BLOB,    -- the text of a sensitive memory, encrypted for this row
    terms              TEXT,    -- its index terms with frequencies as JSON, to remove it from the index exactly as it was added
    speaker            TEXT,
    sensitive          INTEGER NOT NULL CHECK (sensitive IN (0, 1)),
    taint              TEXT NOT NULL,
    review             TEXT NOT NULL,
    from_conversation  BLOB,
    from_message       BLOB,
    from_run           BLOB,
    from_agent         BLOB,
    from_user          BLOB,
    valid_from         INTEGER NOT NULL,
    valid_to           INTEGER,
    superseded_by      BLOB,
    redacted_at        INTEGER,
    CHECK (redacted_at IS NULL OR (text IS NULL AND sealed IS NULL AND terms IS NULL AND speaker IS NULL)),
    CHECK (redacted_at IS NOT NULL OR (text IS NULL) = (sealed IS NOT NULL)),
    CHECK (sealed IS NULL OR terms IS NULL)
) STRICT;
CREATE INDEX memory_content_proposed ON memory_content (memory)
    WHERE review = 'proposed' AND redacted_at IS NULL AND valid_to IS NULL;
CREATE INDEX memory_content_by_message ON memory_content (from_message) WHERE from_message IS NOT NULL;

-- An agent's memory carries the labels of everything its run has read, and is written while that run is running (`duet_run()` is null
-- except for agents).
CREATE TRIGGER memory_content_of_a_run BEFORE INSERT ON memory_content
WHEN duet_run() IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM run r JOIN memory m ON m.key = new.memory JOIN memory_class k ON k.key = m.class
    WHERE r.id = duet_run() AND r.status = 'running' AND r.workspace_id = m.workspace_id AND r.user_id = new.user_id
      AND new.from_run IS r.id AND new.from_agent IS r.agent_id AND new.from_user IS r.user_id
      AND (k.owner = x'' OR k.owner = r.user_id)
      AND (r.labels & 1 = 0 OR new.taint = 'untrusted')
      AND (r.labels & 2 = 0 OR k.egress = 'local_only')
      AND (r.labels & 4 = 0 OR new.sensitive = 1)
      AND (r.labels & 8 = 0 OR k.owner <> x'')
      AND (new.taint = 'trusted' OR new.review <> 'accepted' OR (k.domain = 'working' AND m.supersedes IS NULL)))
BEGIN
    SELECT raise(ABORT, 'an agent writes within its run');
END;
CREATE TRIGGER memory_content_sensitive BEFORE INSERT ON memory_content
WHEN new.sensitive = 1 AND EXISTS (
    SELECT 1 FROM memory m JOIN memory_class k ON k.key = m.class WHERE m.key = new.memory AND k.egress = 'any')
BEGIN
    SELECT raise(ABORT, 'a sensitive memory is for local models until its owner opens it');
END;

-- Memory texts as the caller may see them: an agent whose model runs elsewhere does not see those for local models only.
CREATE VIEW memory_content_shown AS
    SELECT c.* FROM memory_content c
    WHERE duet_locality() = 'local'
       OR EXISTS (SELECT 1 FROM memory m JOIN memory_class k ON k.key = m.class WHERE m.key = c.memory AND k.egress = 'any');

CREATE TABLE memory_term (
    class     INTEGER NOT NULL,
    term      TEXT NOT NULL,
    memory    INTEGER NOT NULL,
    frequency INTEGER NOT NULL,
    length    INTEGER NOT NULL,
    PRIMARY KEY (class, term, memory)
) STRICT, WITHOUT ROWID;

-- Per-conversation counters, for the conversation's own score.
CREATE TABLE memory_thread (
    class           INTEGER NOT NULL,
    conversation_id BLOB NOT NULL,
    documents       INTEGER NOT NULL,
    length          INTEGER NOT NULL,
    PRIMARY KEY (class, conversation_id)
) STRICT, WITHOUT ROWID;

-- One workspace's vectors by one model. `generation` counts changes; a code's `seq` is the generation it was added in, so that a
-- cache knows what it lacks. Codes up to `bits_seq` are also in the bit index, centred on `mean`.
CREATE TABLE memory_partition (
    key          INTEGER PRIMARY KEY AUTOINCREMENT, -- caches still use it after the row is deleted
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    model        INTEGER NOT NULL REFERENCES embedding_model (key),
    generation   INTEGER NOT NULL DEFAULT 0,
    vectors      INTEGER NOT NULL DEFAULT 0,
    bits_seq     INTEGER NOT NULL DEFAULT 0,
    mean         BLOB,
    mean_of      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (workspace_id, model)
) STRICT;

-- The vectors themselves: the source of truth. One row fits a page of 8 KB at 1,536 dimensions.
CREATE TABLE memory_vector (
    key       INTEGER PRIMARY KEY AUTOINCREMENT,
    memory    INTEGER NOT NULL UNIQUE REFERENCES memory (key),
    partition INTEGER NOT NULL REFERENCES memory_partition (key),
    seq       INTEGER NOT NULL,
    vector    BLOB NOT NULL -- little-endian f32, unit length
) STRICT;

-- One byte per dimension, with the scale and the measured error that make bounds on the cosine provable.
CREATE TABLE memory_code (
    partition  INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    vector     INTEGER NOT NULL,
    memory     INTEGER NOT NULL,
    class      INTEGER NOT NULL,
    expires_at INTEGER,
    scale      REAL NOT NULL,
    error      REAL NOT NULL,
    code       BLOB NOT NULL,
    PRIMARY KEY (partition, seq)
) STRICT, WITHOUT ROWID;

-- Memories whose text an embedder refused: skipped until `retry_at`, for that model only. No foreign key: with one, SQLite would read
-- this table for each memory that an agent stores, and an agent may not read it.
CREATE TABLE memory_refusal (
    memory     INTEGER PRIMARY KEY,
    model      TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    retry_at   INTEGER NOT NULL
) STRICT;

-- Removed codes, for caches to follow.
CREATE TABLE memory_code_gone (
    partition  INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    vector     INTEGER NOT NULL,
    PRIMARY KEY (partition, generation)
) STRICT, WITHOUT ROWID;

-- Ids of deleted memories: a reference to one of them means the old memory.
CREATE TABLE memory_gone (
    workspace_id BLOB NOT NULL,
    memory_id    BLOB NOT NULL CHECK (length(memory_id) = 16),
    PRIMARY KEY (workspace_id, memory_id)
) STRICT, WITHOUT ROWID;

-- What must stay redacted, even after an older copy of this file is restored.
CREATE TABLE memory_tombstone (
    workspace_id BLOB NOT NULL,
    memory_id    BLOB NOT NULL CHECK (length(memory_id) = 16),
    redaction_id BLOB NOT NULL,
    redacted_by  BLOB NOT NULL,
    redacted_at  INTEGER NOT NULL,
    tombstone    TEXT NOT NULL, -- JSON, ids only
    receipt      TEXT NOT NULL, -- JSON, counts only
    PRIMARY KEY (workspace_id, memory_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_tombstone_by_redaction ON memory_tombstone (workspace_id, redaction_id, redacted_by);
CREATE TRIGGER memory_tombstone_fixed BEFORE UPDATE ON memory_tombstone BEGIN
    SELECT raise(ABORT, 'a redaction stays');
END;
CREATE TRIGGER memory_tombstone_kept BEFORE DELETE ON memory_tombstone BEGIN
    SELECT raise(ABORT, 'a redaction stays');
END;

-- Tells a person that somebody else redacted a memory that replies to them recalled. The events' mentions say which replies;
-- `tombstone` says what the person's decision removed, as JSON of ids only.
CREATE TABLE notice (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id           BLOB NOT NULL CHECK (length(id) = 16),
    user_id      BLOB NOT NULL REFERENCES user (id),
    memory_id    BLOB NOT NULL,
    redaction_id BLOB NOT NULL,
    redacted_by  BLOB NOT NULL REFERENCES user (id),
    created_at   INTEGER NOT NULL,
    settled      TEXT CHECK (settled IN ('blank', 'dismiss')),
    settled_at   INTEGER,
    tombstone    TEXT,
    PRIMARY KEY (workspace_id, id),
    CHECK ((settled IS NULL) = (settled_at IS NULL)),
    CHECK ((settled IS 'blank') = (tombstone IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_open ON notice (workspace_id, user_id, created_at, id) WHERE settled IS NULL;
