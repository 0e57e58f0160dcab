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
