use duet_core::Timestamp;
use serde_json::{Value, json};
use sqlx::{
    Arguments, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo},
    types::Json,
};
use uuid::Uuid;

/// An argument with the type that the function declares.
#[derive(Clone, Debug)]
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
    /// As PostgREST takes it.
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

    /// As sqlx takes it.
    pub(super) fn bind(self, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Uuid(value) => arguments.add(value),
            Self::Text(value) => arguments.add(value),
            Self::Int(value) => arguments.add(value),
            Self::Long(value) => arguments.add(value),
            Self::Bool(value) => arguments.add(value),
            Self::Bytes(value) => arguments.add(value),
            Self::Time(value) => arguments.add(value.map(Moment)),
            Self::Json(value) => arguments.add(value.map(Json)),
            Self::Uuids(value) => arguments.add(value),
            Self::Texts(value) => arguments.add(value),
        }
    }
}

/// `timestamptz` on the wire: microseconds since 2000-01-01 UTC.
struct Moment(Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const EPOCH_MILLIS: i64 = 946_684_800_000;
        let micros = (self.0.millis() - EPOCH_MILLIS)
            .checked_mul(1000)
            .ok_or("a time out of range")?;
        <i64 as Encode<Postgres>>::encode_by_ref(&micros, buffer)
    }
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
