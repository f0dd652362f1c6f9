//! Field encryption. A workspace has data keys; they are stored wrapped by the master key, which is not stored. A sealed
//! value names the version of its data key, so that keys can be rotated one value at a time.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::CryptoError;
use crate::{
    clock::Env,
    ids::{Id, WorkspaceId},
};

/// First byte of every sealed value: the format of the rest.
const FORM: u8 = 1;
const VERSION_LEN: usize = 4;
const HEADER_LEN: usize = 1 + VERSION_LEN + NONCE_LEN;

/// Where a sealed value is stored. It opens nowhere else: not in another row, column, table or workspace.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The table.
    pub table: &'a str,
    /// The row's id.
    pub row: Uuid,
    /// The column.
    pub column: &'a str,
}

impl Place<'_> {
    /// Unambiguous: each name is preceded by its length.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = b"duet.field.v1".to_vec();
        data.extend_from_slice(self.workspace.uuid().as_bytes());
        data.extend_from_slice(self.row.as_bytes());
        for name in [self.table, self.column] {
            data.extend_from_slice(&(name.len() as u64).to_be_bytes());
            data.extend_from_slice(name.as_bytes());
        }
        data
    }
}

/// The key that wraps data keys.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A master key from its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Wraps a workspace's data key for storage.
    pub fn wrap(&self, env: &Env, workspace: WorkspaceId, key: &DataKey) -> Result<Vec<u8>, CryptoError> {
        seal(&self.0, key.version, env.bytes(), &wrap_data(workspace), &key.bytes)
    }

    /// Unwraps a stored data key. It opens only for the workspace it was wrapped for.
    pub fn unwrap(&self, workspace: WorkspaceId, wrapped: &[u8]) -> Result<DataKey, CryptoError> {
        let version = version_of(wrapped)?;
        let mut bytes = open(&self.0, wrapped, &wrap_data(workspace))?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| CryptoError::Malformed);
        bytes.zeroize();
        Ok(DataKey { version, bytes: key? })
    }

    /// Rewraps a data key under another master key. The data key, and so every sealed value, stays as it is.
    pub fn rewrap(&self, env: &Env, workspace: WorkspaceId, wrapped: &[u8], new: &Self) -> Result<Vec<u8>, CryptoError> {
        new.wrap(env, workspace, &self.unwrap(workspace, wrapped)?)
    }
}

fn wrap_data(workspace: WorkspaceId) -> Vec<u8> {
    let mut data = b"duet.data-key.v1".to_vec();
    data.extend_from_slice(workspace.uuid().as_bytes());
    data
}

/// A key that seals the fields of one workspace.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey {
    #[zeroize(skip)]
    version: u32,
    bytes: [u8; 32],
}

impl DataKey {
    /// A fresh key with this version, counted from 1 in its workspace.
    pub fn generate(env: &Env, version: u32) -> Self {
        Self {
            version,
            bytes: env.bytes(),
        }
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }
}

/// All data keys of a workspace: the newest seals, each opens what it has sealed.
#[derive(Clone)]
pub struct DataKeys(Vec<DataKey>);

impl DataKeys {
    /// Takes the unwrapped keys in any order.
    pub fn new(mut keys: Vec<DataKey>) -> Self {
        keys.sort_by_key(DataKey::version);
        Self(keys)
    }

    /// Seals a value for its place with the newest key.
    pub fn seal(&self, env: &Env, place: Place<'_>, value: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let key = self.0.last().ok_or(CryptoError::NoKey)?;
        seal(&key.bytes, key.version, env.bytes(), &place.associated_data(), value)
    }

    /// Opens the value sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let version = version_of(sealed)?;
        let key = self.0.iter().find(|key| key.version == version).ok_or(CryptoError::NoKey)?;
        open(&key.bytes, sealed, &place.associated_data())
    }

    /// Whether a value is sealed with an older key and should be sealed again.
    pub fn is_outdated(&self, sealed: &[u8]) -> Result<bool, CryptoError> {
        let newest = self.0.last().ok_or(CryptoError::NoKey)?;
        Ok(version_of(sealed)? != newest.version)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey(version {})", self.version)
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, CryptoError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| CryptoError::Malformed)
}

/// `form (1) | key version (4) | nonce (12) | ciphertext | tag (16)`; form and version are covered by the tag too.
fn seal(key: &[u8; 32], version: u32, nonce: [u8; NONCE_LEN], place: &[u8], value: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut header = vec![FORM];
    header.extend_from_slice(&version.to_be_bytes());
    let aad = [&header, place].concat();
    let mut body = value.to_vec();
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
        .map_err(|_| CryptoError::Malformed)?;
    Ok([&header, &nonce[..], &body, tag.as_ref()].concat())
}

fn open(key: &[u8; 32], sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(CryptoError::Malformed)?;
    let (head, nonce) = header.split_at(1 + VERSION_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::Malformed)?;
    let aad = [head, place].concat();
    let mut body = body.to_vec();
    let length = cipher(key)?
        .open_in_place(nonce, Aad::from(aad), &mut body)
        .map_err(|_| CryptoError::NotAuthentic)?
        .len();
    body.truncate(length);
    Ok(body)
}

fn version_of(sealed: &[u8]) -> Result<u32, CryptoError> {
    match sealed.split_first() {
        Some((&FORM, rest)) => rest
            .first_chunk::<VERSION_LEN>()
            .map(|bytes| u32::from_be_bytes(*bytes))
            .ok_or(CryptoError::Malformed),
        _ => Err(CryptoError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::TestEnv;

    fn workspace(number: u128) -> WorkspaceId {
        WorkspaceId::from_uuid(Uuid::from_u128(number))
    }

    fn place(number: u128) -> Place<'static> {
        Place {
            workspace: workspace(number),
            table: "memory",
            row: Uuid::from_u128(5),
            column: "text",
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_in_its_place_only(value: Vec<u8>, seed: u64) {
            let env = TestEnv::new(seed).env();
            let keys = DataKeys::new(vec![DataKey::generate(&env, 1)]);
            let here = place(1);
            let sealed = keys.seal(&env, here, &value).unwrap();
            prop_assert_eq!(keys.open(here, &sealed).unwrap(), value);
            for elsewhere in [
                Place { workspace: workspace(2), ..here },
                Place { table: "message", ..here },
                Place { row: Uuid::from_u128(6), ..here },
                Place { column: "speaker", ..here },
                // The same letters, split differently.
                Place { table: "memor", column: "ytext", ..here },
            ] {
                prop_assert_eq!(keys.open(elsewhere, &sealed), Err(CryptoError::NotAuthentic));
            }
            let others = DataKeys::new(vec![DataKey::generate(&env, 1)]);
            prop_assert_eq!(others.open(here, &sealed), Err(CryptoError::NotAuthentic));
        }

        #[test]
        fn any_changed_or_missing_byte_is_noticed(value: Vec<u8>, place_of_change: prop::sample::Index, bit in 0..8_u8) {
            let env = TestEnv::new(1).env();
            let keys = DataKeys::new(vec![DataKey::generate(&env, 1)]);
            let sealed = keys.seal(&env, place(1), &value).unwrap();
            let mut changed = sealed.clone();
            changed[place_of_change.index(sealed.len())] ^= 1 << bit;
            prop_assert!(keys.open(place(1), &changed).is_err());
            prop_assert!(keys.open(place(1), &sealed[..place_of_change.index(sealed.len())]).is_err());
        }

        #[test]
        fn noise_is_refused(noise: Vec<u8>) {
            let env = TestEnv::new(1).env();
            let keys = DataKeys::new(vec![DataKey::generate(&env, 1)]);
            prop_assert!(keys.open(place(1), &noise).is_err());
            prop_assert!(MasterKey::new([1; 32]).unwrap(workspace(1), &noise).is_err());
        }
    }

    #[test]
    fn a_data_key_is_its_workspaces_alone() {
        let env = TestEnv::new(1).env();
        let master = MasterKey::new([1; 32]);
        let key = DataKey::generate(&env, 3);
        let wrapped = master.wrap(&env, workspace(1), &key).unwrap();
        assert_eq!(master.unwrap(workspace(1), &wrapped).unwrap().bytes, key.bytes);
        assert_eq!(master.unwrap(workspace(1), &wrapped).unwrap().version(), 3);
        assert_eq!(master.unwrap(workspace(2), &wrapped).err(), Some(CryptoError::NotAuthentic));
        assert_eq!(
            MasterKey::new([2; 32]).unwrap(workspace(1), &wrapped).err(),
            Some(CryptoError::NotAuthentic)
        );
        assert!(!wrapped.windows(32).any(|window| window == key.bytes));
    }

    /// A rotation interrupted at any point leaves every value readable.
    #[test]
    fn rotation_can_stop_anywhere() {
        let env = TestEnv::new(1).env();
        let (old_master, new_master) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let first = DataKey::generate(&env, 1);
        let old = DataKeys::new(vec![first.clone()]);
        let mut values: Vec<Vec<u8>> = (0..6)
            .map(|number| old.seal(&env, place(1), &[number; 40]).unwrap())
            .collect();

        let wrapped = old_master.wrap(&env, workspace(1), &first).unwrap();
        let rewrapped = old_master.rewrap(&env, workspace(1), &wrapped, &new_master).unwrap();
        let first = new_master.unwrap(workspace(1), &rewrapped).unwrap();
        assert_eq!(
            old_master.unwrap(workspace(1), &rewrapped).err(),
            Some(CryptoError::NotAuthentic)
        );

        let both = DataKeys::new(vec![DataKey::generate(&env, 2), first]);
        for next in 0..values.len() {
            for (number, value) in (0..).zip(&values) {
                assert_eq!(both.open(place(1), value).unwrap(), [number; 40]);
            }
            assert!(both.is_outdated(&values[next]).unwrap());
            let plain = both.open(place(1), &values[next]).unwrap();
            values[next] = both.seal(&env, place(1), &plain).unwrap();
            assert!(!both.is_outdated(&values[next]).unwrap());
        }
        assert_eq!(old.open(place(1), &values[0]), Err(CryptoError::NoKey));
    }

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let env = TestEnv::new(1).env();
        let shown = format!("{:?} {:?}", MasterKey::new([77; 32]), DataKey::generate(&env, 1));
        assert_eq!(shown, "MasterKey(…) DataKey(version 1)");
    }
}
