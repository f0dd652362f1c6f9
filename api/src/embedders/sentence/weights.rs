//! Reads `model.safetensors`: a length, a JSON header with each tensor's type, shape and position, then the bytes.

use std::collections::HashMap;

use ndarray::{Array1, Array2};
use serde::Deserialize;
use serde_json::Value;

/// The tensors of a file. Nothing in it is trusted: every position and size is checked.
pub(super) struct Weights<'a> {
    tensors: HashMap<String, Tensor>,
    data: &'a [u8],
    /// Some files put this before every name.
    prefix: &'static str,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'a> Weights<'a> {
    /// Reads the header.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let broken = || "it is no safetensors file".to_owned();
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(broken)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| broken())?;
        let (header, data) = rest.split_at_checked(length).ok_or_else(broken)?;
        let header: HashMap<String, Value> = serde_json::from_slice(header).map_err(|_| broken())?;
        let mut tensors = HashMap::new();
        for (name, entry) in header {
            if name != "__metadata__" {
                tensors.insert(name, serde_json::from_value(entry).map_err(|_| broken())?);
            }
        }
        let prefix = if tensors.contains_key("bert.embeddings.word_embeddings.weight") {
            "bert."
        } else {
            ""
        };
        Ok(Self { tensors, data, prefix })
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, String> {
        self.tensors
            .get(&format!("{}{name}", self.prefix))
            .ok_or_else(|| format!("it has no `{name}`"))
    }

    /// How many rows a matrix has.
    pub fn rows(&self, name: &str) -> Result<usize, String> {
        self.tensor(name)?
            .shape
            .first()
            .copied()
            .ok_or_else(|| format!("its `{name}` is no matrix"))
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let tensor = self.tensor(name)?;
        let wrong = || format!("its `{name}` is not as `config.json` says");
        if tensor.shape != shape {
            return Err(wrong());
        }
        let bytes = self
            .data
            .get(tensor.data_offsets.0..tensor.data_offsets.1)
            .ok_or_else(wrong)?;
        let numbers: Vec<f32> = match tensor.dtype.as_str() {
            "F32" => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
            "F16" => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| half(u16::from_le_bytes(*bytes)))
                .collect(),
            "BF16" => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16))
                .collect(),
            other => return Err(format!("its numbers are of the type {other}; F32, F16 and BF16 can be read")),
        };
        let size = shape.iter().try_fold(1_usize, |size, side| size.checked_mul(*side));
        if size == Some(numbers.len()) {
            Ok(numbers)
        } else {
            Err(wrong())
        }
    }

    /// A matrix of this shape.
    pub fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Array2<f32>, String> {
        let numbers = self.numbers(name, &[rows, columns])?;
        Array2::from_shape_vec((rows, columns), numbers).map_err(|_| format!("its `{name}` has another shape"))
    }

    /// A vector of this length.
    pub fn vector(&self, name: &str, length: usize) -> Result<Array1<f32>, String> {
        Ok(Array1::from_vec(self.numbers(name, &[length])?))
    }
}

/// A half-precision number.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f32::from(bits & 0x03ff);
    match (bits >> 10) & 0x1f {
        0 => sign * fraction * 2.0_f32.powi(-24),
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2.0_f32.powi(i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn tensors_are_read_and_their_places_checked() {
        let data: Vec<u8> = [1.0_f32, -2.0, 3.5, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let header = r#"{"__metadata__":{"format":"pt"},"m":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
            "far":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},"back":{"dtype":"F32","shape":[2],"data_offsets":[8,0]},
            "lies":{"dtype":"F32","shape":[3],"data_offsets":[0,16]},"ints":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},
            "half":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        let bytes = file(header, &data);
        let weights = Weights::read(&bytes).unwrap();
        assert_eq!(weights.matrix("m", 2, 2).unwrap(), ndarray::arr2(&[[1.0, -2.0], [3.5, 4.0]]));
        assert_eq!(weights.rows("m"), Ok(2));
        assert!(weights.matrix("m", 4, 1).is_err());
        for (name, length) in [("far", 2), ("back", 2), ("lies", 3), ("ints", 2), ("none", 1), ("m", 4)] {
            assert!(weights.vector(name, length).is_err(), "{name}");
        }
        assert_eq!(weights.vector("half", 2).unwrap()[0], 0.0);
        for broken in [
            &b""[..],
            b"short",
            &u64::MAX.to_le_bytes(),
            &file("{]", b""),
            &file(r#"{"m":1}"#, b""),
        ] {
            assert!(Weights::read(broken).is_err());
        }
    }

    #[test]
    fn half_precision() {
        for (bits, number) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_5e-8),
        ] {
            assert_eq!(half(bits), number);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }
}
