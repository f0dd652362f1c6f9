//! The open connections, and who gets one: limits per network and in all, with the last places reserved for clients that hold
//! few. When none is left, the connection that has waited longest for a request makes room.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::limits::network;

/// A network that holds fewer than this is let in when others are not.
const FEW: usize = 4;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all.
    pub most: usize,
    /// From one network; `None` behind a proxy, whose connections serve all clients.
    pub most_of_one: Option<usize>,
}

/// What one connection is doing.
#[derive(Default)]
pub struct Pulse {
    begun: AtomicU64,
    answering: AtomicUsize,
    evicted: Notify,
}

impl Pulse {
    /// How many requests have begun.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }
    /// Whether one is being answered.
    pub fn answering(&self) -> bool {
        self.answering.load(Ordering::Acquire) > 0
    }
    /// Begins a request; it ends with the guard.
    pub fn begin(self: &Arc<Self>) -> Answering {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.answering.fetch_add(1, Ordering::AcqRel);
        Answering(Arc::clone(self))
    }
    /// Resolves when the connection has to make room.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

/// A request that is being answered.
pub struct Answering(Arc<Pulse>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Entry {
    network: IpAddr,
    /// How many requests had begun at the last look, and since when that has not changed.
    seen: (u64, u64),
    pulse: Arc<Pulse>,
}

#[derive(Default)]
struct Held {
    next: u64,
    entries: HashMap<u64, Entry>,
    by_network: HashMap<IpAddr, usize>,
}

/// The open connections.
pub struct Open {
    bounds: Bounds,
    held: Mutex<Held>,
}

/// A place among them; dropping it makes room.
pub struct Slot {
    id: u64,
    open: Arc<Open>,
    /// What its connection is doing.
    pub pulse: Arc<Pulse>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.held().remove(self.id);
    }
}

impl Held {
    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(count) = self.by_network.get_mut(&entry.network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&entry.network);
            }
        }
    }

    /// Among the connections that `chosen` accepts, ends the one that has waited longest for a request.
    fn evict(&mut self, chosen: impl Fn(&Entry) -> bool) -> bool {
        let now = self.next;
        let mut oldest: Option<(u64, u64)> = None;
        for (id, entry) in &mut self.entries {
            let begun = entry.pulse.begun();
            if entry.seen.0 != begun {
                entry.seen = (begun, now);
            }
            let waits = !entry.pulse.answering() && chosen(entry);
            if waits && oldest.is_none_or(|best| (entry.seen.1, *id) < best) {
                oldest = Some((entry.seen.1, *id));
            }
        }
        let Some((_, id)) = oldest else { return false };
        if let Some(entry) = self.entries.get(&id) {
            entry.pulse.evicted.notify_one();
        }
        self.remove(id);
        true
    }
}

impl Open {
    /// None yet.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address, if there is one or one can be made.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let network = network(address);
        let mut held = self.held();
        if let Some(most) = self.bounds.most_of_one {
            let own = held.by_network.get(&network).copied().unwrap_or(0);
            if own >= most && !held.evict(|entry| entry.network == network) {
                return None;
            }
            // The last eighth is for networks that hold few.
            let scarce = held.entries.len() + self.bounds.most / 8 >= self.bounds.most;
            if scarce && own >= FEW && !held.evict(|entry| entry.network == network) {
                return None;
            }
        }
        if held.entries.len() >= self.bounds.most && !held.evict(|_| true) {
            return None;
        }
        let id = held.next;
        held.next += 1;
        let pulse = Arc::new(Pulse::default());
        *held.by_network.entry(network).or_default() += 1;
        held.entries.insert(
            id,
            Entry {
                network,
                seen: (0, id),
                pulse: Arc::clone(&pulse),
            },
        );
        drop(held);
        Some(Slot {
            id,
            open: Arc::clone(self),
            pulse,
        })
    }

    /// Ends up to this many connections that wait for a request, longest wait first: there are no descriptors left.
    pub fn shed(&self, most: usize) -> usize {
        let mut held = self.held();
        (0..most).take_while(|_| held.evict(|_| true)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(most: usize, most_of_one: Option<usize>) -> Arc<Open> {
        Open::new(Bounds { most, most_of_one })
    }

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn evicted(slot: &Slot) -> bool {
        !slot.open.held().entries.contains_key(&slot.id)
    }

    #[test]
    fn one_network_has_so_many_and_makes_room_for_itself() {
        let open = open(100, Some(3));
        let first: Vec<Slot> = (0..3).map(|_| open.admit(from(1)).unwrap()).collect();
        let other = open.admit(from(2)).unwrap();
        let busy = first[0].pulse.begin();
        let fourth = open.admit(from(1)).unwrap();
        assert!(
            evicted(&first[1]) && !evicted(&first[0]) && !evicted(&first[2]),
            "the longest idle one goes"
        );
        assert!(!evicted(&other));
        let _busy = [first[2].pulse.begin(), fourth.pulse.begin(), busy];
        assert!(open.admit(from(1)).is_none(), "all of them are at work");
        assert!(open.admit(from(2)).is_some());
    }

    #[test]
    fn a_place_is_free_again_and_what_has_answered_counts_as_newer() {
        let open = open(100, Some(2));
        let (first, second) = (open.admit(from(1)).unwrap(), open.admit(from(1)).unwrap());
        drop(first.pulse.begin());
        let third = open.admit(from(1)).unwrap();
        assert!(evicted(&second), "the first one was used since");
        drop((second, third));
        assert!(open.admit(from(1)).is_some());
        assert!(!evicted(&first));
        drop(first);
        assert!(open.held().entries.is_empty() && open.held().by_network.is_empty());
    }

    #[test]
    fn the_last_places_are_for_those_who_hold_few() {
        let open = open(16, Some(16));
        let mut held = Vec::new();
        let mut work = Vec::new();
        while let Some(slot) = open.admit(from(1)) {
            work.push(slot.pulse.begin());
            held.push(slot);
        }
        assert_eq!(held.len(), 14);
        let owner = open.admit(from(2)).expect("somebody else comes in");
        assert!(!evicted(&owner));
    }

    #[test]
    fn behind_a_proxy_there_is_one_bound_for_all() {
        let open = open(3, None);
        let slots: Vec<Slot> = (0..3).map(|_| open.admit(from(1)).unwrap()).collect();
        let fourth = open.admit(from(1)).unwrap();
        assert!(evicted(&slots[0]));
        assert_eq!(open.shed(2), 2);
        assert!(evicted(&slots[1]) && evicted(&slots[2]) && !evicted(&fourth));
    }
}
