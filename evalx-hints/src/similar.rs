//! "Did you mean": which of some names was meant by a misspelled one.

/// The candidate most like `name`, if one is like enough; the earlier of equals.
pub(crate) fn most_similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let characters: Vec<char> = name.chars().take(LONGEST + 1).collect();
    if characters.is_empty() || characters.len() > LONGEST {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate == name {
            continue;
        }
        let most = best.map_or(threshold(characters.len()), |(score, _)| score - 1);
        if let Some(score) = distance(&characters, candidate, most) {
            best = Some((score, candidate));
            if score == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Names longer than this are nobody's spelling mistake.
const LONGEST: usize = 64;
/// What one edit costs; a letter in the wrong case costs less.
const EDIT: usize = 4;
const CASE: usize = 1;

/// The largest distance at which a name of this length still resembles another.
const fn threshold(length: usize) -> usize {
    match length {
        0 | 1 => 2 * CASE,
        2 => EDIT,
        3..=5 => EDIT + 2 * CASE,
        6..=8 => 2 * EDIT,
        _ => 2 * EDIT + EDIT / 2,
    }
}

/// The distance with adjacent letters swapped as one edit, if at most `most`.
fn distance(name: &[char], candidate: &str, most: usize) -> Option<usize> {
    if candidate.len() > 4 * LONGEST {
        return None;
    }
    let other: Vec<char> = candidate.chars().collect();
    if name.len().abs_diff(other.len()) * EDIT > most || other.is_empty() {
        return None;
    }
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).map(|n| n * EDIT).collect();
    let mut row = last.clone();
    for (i, &a) in name.iter().enumerate() {
        row[0] = (i + 1) * EDIT;
        for (j, &b) in other.iter().enumerate() {
            let mut least = (last[j] + cost(a, b)).min(last[j + 1] + EDIT).min(row[j] + EDIT);
            if i > 0 && j > 0 && a == other[j - 1] && name[i - 1] == b && a != b {
                least = least.min(before[j - 1] + EDIT);
            }
            row[j + 1] = least;
        }
        if row.iter().min().is_some_and(|least| *least > most) {
            return None;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last.last().copied().filter(|score| *score <= most)
}

fn cost(a: char, b: char) -> usize {
    if a == b {
        0
    } else if a.eq_ignore_ascii_case(&b) || (a == '-' && b == '_') || (a == '_' && b == '-') {
        CASE
    } else {
        EDIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_found() {
        let names = ["print", "length", "toString", "count", "x"];
        for (typed, meant) in [
            ("pirnt", "print"),
            ("lenght", "length"),
            ("ToString", "toString"),
            ("cout", "count"),
            ("X", "x"),
        ] {
            assert_eq!(most_similar(typed, names), Some(meant), "{typed}");
        }
    }

    #[test]
    fn other_words_are_not() {
        assert_eq!(most_similar("total", ["print", "a", "tuple", "to"]), None);
        assert_eq!(most_similar("i", ["j", "k"]), None);
        assert_eq!(most_similar("", ["a"]), None);
        assert_eq!(most_similar(&"a".repeat(10_000), ["a"]), None);
    }
}
