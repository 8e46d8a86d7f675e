//! Exit codes: which of several wins.

/// The codes in the order in which they win: what interrupted or misled the pass before what it found.
const ORDER: [u8; 9] = [130, 143, 78, 77, 75, 2, 1, 3, 4];

/// The code that wins; 0 where there is none.
pub fn strongest(codes: impl IntoIterator<Item = u8>) -> u8 {
    codes
        .into_iter()
        .filter(|code| *code != 0)
        .min_by_key(|code| ORDER.iter().position(|known| known == code).unwrap_or(ORDER.len()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::strongest;

    #[test]
    fn what_misled_the_pass_wins_over_what_it_found() {
        assert_eq!(strongest([3, 4, 77]), 77);
        assert_eq!(strongest([4, 3]), 3);
        assert_eq!(strongest([0, 1, 75]), 75);
        assert_eq!(strongest([143, 78]), 143);
        assert_eq!(strongest([0, 0]), 0);
    }
}
