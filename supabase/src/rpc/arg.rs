use std::{error::Error, fmt};

use bytes::BytesMut;
use duet_core::Timestamp;
use serde_json::{Value, json};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// An argument with its declared type.
#[derive(Clone)]
pub enum Arg {
    /// `uuid`
    Uuid(Option<Uuid>),
    /// `text`; also vectors, which travel as text.
    Text(Option<String>),
    /// `int`
    Int(Option<i32>),
    /// `bigint`
    Long(Option<i64>),
    /// `boolean`
    Bool(Option<bool>),
    /// `bytea`
    Bytes(Option<Vec<u8>>),
    /// `timestamptz`
    Time(Option<Timestamp>),
    /// `jsonb`
    Json(Option<Value>),
    /// `uuid[]`
    Uuids(Vec<Uuid>),
    /// `text[]`
    Texts(Vec<String>),
}

impl Arg {
    /// The form that PostgREST takes.
    pub fn json(&self) -> Value {
        match self {
            Self::Uuid(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Long(value) => json!(value),
            Self::Bool(value) => json!(value),
            Self::Bytes(value) => json!(value.as_ref().map(|bytes| format!("\\x{}", hex::encode(bytes)))),
            Self::Time(value) => json!(value),
            Self::Json(value) => json!(value),
            Self::Uuids(value) => json!(value),
            Self::Texts(value) => json!(value),
        }
    }

    /// The type declared to Postgres.
    pub(super) fn sql_type(&self) -> Type {
        match self {
            Self::Uuid(_) => Type::UUID,
            Self::Text(_) => Type::TEXT,
            Self::Int(_) => Type::INT4,
            Self::Long(_) => Type::INT8,
            Self::Bool(_) => Type::BOOL,
            Self::Bytes(_) => Type::BYTEA,
            Self::Time(_) => Type::TIMESTAMPTZ,
            Self::Json(_) => Type::JSONB,
            Self::Uuids(_) => Type::UUID_ARRAY,
            Self::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

/// Prints only the type: drivers log what they send, and arguments contain people's text.
impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql_type().name())
    }
}

impl ToSql for Arg {
    fn to_sql(&self, sql_type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Uuid(value) => value.to_sql(sql_type, out),
            Self::Text(value) => value.to_sql(sql_type, out),
            Self::Int(value) => value.to_sql(sql_type, out),
            Self::Long(value) => value.to_sql(sql_type, out),
            Self::Bool(value) => value.to_sql(sql_type, out),
            Self::Bytes(value) => value.to_sql(sql_type, out),
            Self::Time(value) => value.map(micros).to_sql(&Type::INT8, out),
            Self::Json(value) => value.to_sql(sql_type, out),
            Self::Uuids(value) => value.to_sql(sql_type, out),
            Self::Texts(value) => value.to_sql(sql_type, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// `timestamptz` on the wire: microseconds since 2000-01-01 UTC. Times out of range saturate.
fn micros(time: Timestamp) -> i64 {
    const EPOCH_MILLIS: i64 = 946_684_800_000;
    (time.millis() - EPOCH_MILLIS).saturating_mul(1000)
}

macro_rules! from {
    ($($variant:ident: $($type:ty),+;)+) => {$($(
        impl From<$type> for Arg {
            fn from(value: $type) -> Self { Self::$variant(value.into()) }
        }
    )+)+};
}

from! {
    Uuid: Uuid, Option<Uuid>;
    Text: String, Option<String>;
    Int: i32, Option<i32>;
    Long: i64, Option<i64>;
    Bool: bool, Option<bool>;
    Bytes: Vec<u8>, Option<Vec<u8>>;
    Time: Timestamp, Option<Timestamp>;
    Json: Value, Option<Value>;
    Uuids: Vec<Uuid>;
    Texts: Vec<String>;
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<[u8; 32]> for Arg {
    fn from(value: [u8; 32]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_not_shown() {
        let arguments: [Arg; 4] = [
            "canary".into(),
            json!({"text": "canary"}).into(),
            vec!["canary".to_owned()].into(),
            b"canary".to_vec().into(),
        ];
        assert_eq!(format!("{arguments:?}"), "[text, jsonb, _text, bytea]");
    }
}
