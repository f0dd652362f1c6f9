//! The domain, one file per aggregate. Plain data with its rules; no storage, no transport.

mod account;
mod agent;
mod arguments;
mod audit;
mod conversation;
mod device;
mod event;
mod inbox;
mod invitation;
mod key;
mod labels;
mod listing;
mod memory;
mod model;
mod notice;
mod policy;
mod question;
mod redaction;
mod request;
mod run;
mod soul;
mod workspace;

pub use account::*;
pub use agent::*;
pub use arguments::*;
pub use audit::*;
pub use conversation::*;
pub use device::*;
pub use event::*;
pub use inbox::*;
pub use invitation::*;
pub use key::*;
pub use labels::*;
pub use listing::*;
pub use memory::*;
pub use model::*;
pub use notice::*;
pub use policy::*;
pub use question::*;
pub use redaction::*;
pub use request::*;
pub use run::*;
pub use soul::*;
pub use workspace::*;

/// Declares an enum of plain words: serde (snake_case), `as_str`, `FromStr` and `Display` all agree.
macro_rules! word_enum {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }
        // By hand: the derive does not see a `rename` that a macro wrote, and would describe the variants' names.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(concat!($($doc),+).trim()))
                    .enum_values(Some([$($word),+]))
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The word used on the wire and in storage.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $word),+ } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{text}` is not one of: {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}
pub(crate) use word_enum;
