//! [`TextStream`]: bytes that come in pieces, as text where they are text.

/// What a piece of output is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Bytes(Vec<u8>),
}

/// One output stream. What ends in the middle of a character is held back
/// until the rest of that comes.
#[derive(Debug, Default)]
pub(super) struct TextStream {
    held: Vec<u8>,
}

impl TextStream {
    /// What can be told after this piece, if anything can.
    pub(super) fn add(&mut self, piece: &[u8]) -> Option<Piece> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        if let Err(error) = str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            self.held = bytes.split_off(error.valid_up_to());
        }
        told(bytes)
    }

    /// What was held back and has no rest.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        told(std::mem::take(&mut self.held))
    }
}

fn told(bytes: Vec<u8>) -> Option<Piece> {
    if bytes.is_empty() {
        return None;
    }
    Some(String::from_utf8(bytes).map_or_else(|error| Piece::Bytes(error.into_bytes()), Piece::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut_and_no_byte_is_lost() {
        let mut stream = TextStream::default();
        let text = |text: &str| Some(Piece::Text(text.to_owned()));
        assert_eq!(stream.add("ü".as_bytes()), text("ü"));
        let party = "🎉".as_bytes();
        assert_eq!(stream.add(&[b"a", &party[..1]].concat()), text("a"));
        assert_eq!(stream.add(&party[1..3]), None);
        assert_eq!(stream.add(&party[3..]), text("🎉"));
        assert_eq!(stream.add(b"a\xffb"), Some(Piece::Bytes(b"a\xffb".to_vec())));
        assert_eq!(stream.add(&party[..2]), None);
        assert_eq!(stream.finish(), Some(Piece::Bytes(party[..2].to_vec())));
        assert_eq!(stream.finish(), None);
    }
}
