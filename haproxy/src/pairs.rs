//! One walk over two ordered maps.
//!
//! Used wherever something new is compared with what was before: `compile`, `diff`, and the daemon's
//! sources. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Every key of either map, in order, with what it has in each.
pub fn pairs<'a, K: Ord, A, B>(
    a: &'a BTreeMap<K, A>,
    b: &'a BTreeMap<K, B>,
) -> impl Iterator<Item = (&'a K, Option<&'a A>, Option<&'a B>)> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (a.peek(), b.peek()) {
            (Some((left, _)), Some((right, _))) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let left = if order == Ordering::Greater { None } else { a.next() };
        let right = if order == Ordering::Less { None } else { b.next() };
        let key = left.map(|(key, _)| key).or_else(|| right.map(|(key, _)| key))?;
        Some((key, left.map(|(_, value)| value), right.map(|(_, value)| value)))
    })
}
