-- Invitations: how people join a workspace. Only the SHA-256 of the token in a link is kept.

CREATE TABLE invitation (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id           BLOB NOT NULL CHECK (length(id) = 16),
    email        TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('owner', 'member')),
    token_hash   BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_by   BLOB NOT NULL REFERENCES user (id),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    accepted_at  INTEGER,
    accepted_by  BLOB REFERENCES user (id),
    revoked_at   INTEGER,
    PRIMARY KEY (workspace_id, id),
    CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
    CHECK (accepted_at IS NULL OR revoked_at IS NULL)
) STRICT, WITHOUT ROWID;
-- An address has at most one open invitation to a workspace.
CREATE UNIQUE INDEX invitation_pending ON invitation (workspace_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitation_by_time ON invitation (workspace_id, created_at, id);
