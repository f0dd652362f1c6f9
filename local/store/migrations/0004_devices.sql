-- Devices that are signed in by a code. Only the SHA-256 of the secret that a device keeps, and of the code that it shows, is kept.

CREATE TABLE device_login (
    device_hash BLOB PRIMARY KEY CHECK (length(device_hash) = 32),
    user_hash   BLOB NOT NULL UNIQUE CHECK (length(user_hash) = 32),
    client      TEXT NOT NULL,
    address     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'denied', 'used')),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- When the device asked last, so that it does not ask too often.
    asked_at    INTEGER,
    decided_by  BLOB REFERENCES user (id),
    -- A yes ends with the sign-in that gave it: signing out everywhere leaves no device that is about to be let in.
    decided_in  BLOB REFERENCES session (id) ON DELETE CASCADE,
    CHECK ((state = 'waiting') = (decided_by IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_in IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX device_login_by_expiry ON device_login (expires_at);
CREATE INDEX device_login_by_session ON device_login (decided_in);
