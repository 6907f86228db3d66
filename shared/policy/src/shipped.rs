//! The bundle and the schema that come with this build.

use std::collections::BTreeMap;

use contracts::bundle::{Bundle, Trust};

/// The schema of a bundle that brings none, without `Thresholds`.
pub const SCHEMA: &str = include_str!("../../../schemas/policy/controlplane.cedarschema");

const POLICIES: [(&str, &str); 5] = [
    ("effects.cedar", include_str!("../bundle/effects.cedar")),
    ("flow.cedar", include_str!("../bundle/flow.cedar")),
    ("reads.cedar", include_str!("../bundle/reads.cedar")),
    ("signals.cedar", include_str!("../bundle/signals.cedar")),
    ("writes.cedar", include_str!("../bundle/writes.cedar")),
];

/// 500.00 in a currency of hundredths. Above it, or where the amount is not known, moving money
/// is of high risk.
const LARGE_AMOUNT_MINOR: i64 = 50_000;

/// Denies what it does not name. It trusts no publisher: whoever installs it adds a trust root.
pub fn default_bundle() -> Bundle {
    Bundle {
        schema: String::new(),
        policies: POLICIES
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        thresholds: BTreeMap::from([("large_amount_minor".to_owned(), LARGE_AMOUNT_MINOR)]),
        trust: Trust::default(),
    }
}

/// The declaration of `Thresholds` for a bundle's thresholds: a policy that names another one
/// does not validate.
pub fn thresholds_schema(thresholds: &BTreeMap<String, i64>) -> String {
    let mut schema = "type Thresholds = {\n".to_owned();
    for name in thresholds.keys() {
        schema.extend(["  ", name, ": Long,\n"]);
    }
    schema + "};\n"
}
