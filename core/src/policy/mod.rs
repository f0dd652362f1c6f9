//! What may happen: allow, ask or deny.
