//! What writers tell the relay.

/// What wakes the relay.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// The outbox has grown.
    Grown,
    /// The store closes.
    Stop,
}
