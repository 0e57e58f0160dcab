-- dashboard.sqlite as hyperhive 0.1.0 of November 2026 made it: its schema, word for word, and some rows.
-- dashboard.sqlite: who may come in. Secrets are kept as SHA-256 hashes. Times are seconds since 1970.
CREATE TABLE sessions (
  secret_hash BLOB PRIMARY KEY,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in_links (
  secret_hash BLOB PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO sessions VALUES (x'00', 1764400000, 4000000000);
PRAGMA user_version = 1;
