//! Canonical JSON: RFC 8785, and the integers it would round refused.

use contracts::canonical::{Digest, check, to_bytes};
use proptest::prelude::*;
use serde_json::{Value, json};

#[track_caller]
fn writes(value: &Value, expected: &str) {
    let bytes = to_bytes(value).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[track_caller]
fn refuses(text: &str, path: &str) {
    let value: Value = serde_json::from_str(text).unwrap();
    let refused = to_bytes(&value).unwrap_err();
    assert_eq!(refused.path, path);
    assert_eq!(check(&value), Err(refused));
}

/// Numbers that are not integral, by their bits, as ECMAScript's `String(x)` writes them; taken
/// from a JavaScript engine.
const ECMASCRIPT: [(u64, &str); 51] = [
    (0x3fb9_9999_9999_999a, "0.1"),
    (0xbfb9_9999_9999_999a, "-0.1"),
    (0x3fe0_0000_0000_0000, "0.5"),
    (0x3ff8_0000_0000_0000, "1.5"),
    (0xbff8_0000_0000_0000, "-1.5"),
    (0x3fd3_3333_3333_3334, "0.30000000000000004"),
    (0x3fd5_5555_5555_5555, "0.3333333333333333"),
    (0x3fe5_5555_5555_5555, "0.6666666666666666"),
    (0x4012_0000_0000_0000, "4.5"),
    (0x3f60_624d_d2f1_a9fc, "0.002"),
    (0x41b3_de43_5555_5555, "333333333.3333333"),
    (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
    (0x3eb9_2a73_7110_e454, "0.0000015"),
    (0x3e7a_d7f2_9abc_af48, "1e-7"),
    (0xbe7a_d7f2_9abc_af48, "-1e-7"),
    (0x3e84_21f5_f40d_8376, "1.5e-7"),
    (0x3de0_f782_bf7c_c83f, "1.2345e-10"),
    (0x3a53_ce9a_36f2_3c10, "1e-27"),
    (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"),
    (0x0010_0000_0000_0000, "2.2250738585072014e-308"),
    (0x000f_ffff_ffff_ffff, "2.225073858507201e-308"),
    (0x40fe_240c_9fbe_76c9, "123456.789"),
    (0x432f_ffff_ffff_ffff, "4503599627370495.5"),
    (0xc32f_ffff_ffff_ffff, "-4503599627370495.5"),
    (0x431f_ffff_ffff_ffff, "2251799813685247.8"),
    (0x3eb4_21f5_f40d_8376, "0.0000012"),
    (0x3eb4_a2cf_4d5a_a6c0, "0.00000123"),
    (0x4059_1000_0000_0000, "100.25"),
    (0x3ee4_f8b5_88e3_68f1, "0.00001"),
    (0x4206_fee0_e1aa_0000, "12345678901.25"),
    (0x3fd3_3333_3333_3333, "0.3"),
    (0x3fe6_6666_6666_6666, "0.7"),
    (0x3e5a_d7f2_9abc_af48, "2.5e-8"),
    (0x01b3_432f_0cb6_8e61, "1.7976931348623157e-300"),
    (0x01a5_6e1f_c2f8_f359, "1e-300"),
    (0x4009_21fb_5444_2d18, "3.141592653589793"),
    (0x4005_bf0a_8b14_5769, "2.718281828459045"),
    (0x3ff6_a09e_667f_3bcd, "1.4142135623730951"),
    (0x3b92_e3b4_0a0e_9b4f, "1e-21"),
    (0x3bc7_9ca1_0c92_4223, "1e-20"),
    (0x430c_6bf5_2633_ffff, "999999999999999.9"),
    (0x42d6_bcc4_1e8f_ffff, "99999999999999.98"),
    (0x3ff0_0000_0000_0001, "1.0000000000000002"),
    (0x3fef_ffff_ffff_fffb, "0.9999999999999994"),
    (0x41b3_de43_5555_5553, "333333333.3333332"),
    (0x41b3_de43_5555_5554, "333333333.33333325"),
    (0x41b3_de43_5555_5556, "333333333.3333334"),
    (0x41b3_de43_5555_5557, "333333333.33333343"),
    (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
    (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
];

#[test]
fn numbers_are_written_as_ecmascript_writes_them() {
    for (bits, expected) in ECMASCRIPT {
        let number = f64::from_bits(bits);
        writes(&json!(number), expected);
        // And read back from text as the same number.
        let read: f64 = serde_json::from_str(expected).unwrap();
        assert_eq!(read.to_bits(), bits, "{expected}");
    }
}

#[test]
fn integral_numbers_have_no_point() {
    writes(&json!(0), "0");
    writes(&json!(-0.0), "0");
    writes(&json!(1.0), "1");
    writes(&json!(-7), "-7");
    writes(&json!(1e15), "1000000000000000");
    writes(&json!(9_007_199_254_740_992_i64), "9007199254740992");
    writes(&json!(-9_007_199_254_740_992_i64), "-9007199254740992");
    writes(&json!(9_007_199_254_740_992.0), "9007199254740992");
}

#[test]
fn integers_beyond_2_to_the_53_are_refused_with_their_path() {
    refuses("9007199254740993", "");
    refuses("-9007199254740993", "");
    refuses("18446744073709551615", "");
    refuses("1e30", "");
    refuses("-1e30", "");
    refuses("1.7976931348623157e308", "");
    refuses(r#"{"a":[1,{"b/c~d":9007199254740994.0}]}"#, "/a/1/b~1c~0d");
}

#[test]
fn the_sample_of_rfc_8785_section_3_2_2() {
    // Without its 1E30, which is refused here.
    let value: Value = serde_json::from_str(
        r#"{
            "numbers": [333333333.33333329, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#,
    )
    .unwrap();
    let expected = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,4.5,0.002,1e-27],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    );
    writes(&value, expected);
}

#[test]
fn the_sample_of_rfc_8785_section_3_2_3() {
    // Sorted by UTF-16 units: the emoji (D83D) before U+FB33, which UTF-8 puts the other way.
    let value: Value = serde_json::from_str(
        r#"{
            "\u20ac": "Euro Sign",
            "\r": "Carriage Return",
            "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One",
            "\ud83d\ude00": "Emoji: Grinning Face",
            "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#,
    )
    .unwrap();
    let expected = concat!(
        r#"{"\r":"Carriage Return","1":"One","#,
        "\"\u{80}\":\"Control\",",
        r#""ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","#,
        r#""😀":"Emoji: Grinning Face","#,
        "\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
    writes(&value, expected);
}

#[test]
fn texts_are_escaped_no_more_than_they_must_be() {
    writes(
        &json!("\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{2028}<>&é"),
        "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}\u{2028}<>&é\"",
    );
}

#[test]
fn digests_are_of_the_canonical_bytes() {
    // printf '{"a":1,"b":[]}' | sha256sum
    let expected = "f87e4099e9be5e75094e0a4f46d3dc18a9c37429314a5a2490fb78d31e7e170c";
    let digest = Digest::of_json(&json!({ "b": [], "a": 1.0 })).unwrap();
    assert_eq!(digest.to_string(), expected);
    // printf '' | sha256sum
    assert_eq!(
        Digest::of(b"").to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn parts_are_told_apart_by_their_lengths() {
    let digest = |parts: &[&str]| Digest::of_parts(parts.iter().map(|part| part.as_bytes()));
    assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
    // printf '\0\0\0\0\0\0\0\002ab\0\0\0\0\0\0\0\001c' | sha256sum
    assert_eq!(
        digest(&["ab", "c"]).to_string(),
        "601d5476e2ccfe2c87a2bba7a322659734a05749d5b5aa781f513e4912db0d5f"
    );
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        any::<f64>()
            .prop_filter("has a canonical form", |number| check(&json!(number))
                .is_ok())
            .prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same value with the members of every object put in from the last to the first.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members.iter().collect();
            let members = members.into_iter().rev();
            Value::Object(
                members
                    .map(|(key, item)| (key.clone(), reversed(item)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(reversed).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

proptest! {
    #![proptest_config(super::properties())]

    #[test]
    fn the_bytes_do_not_depend_on_the_order_of_members(value in values()) {
        prop_assert_eq!(to_bytes(&value).unwrap(), to_bytes(&reversed(&value)).unwrap());
    }

    #[test]
    fn reading_the_bytes_and_writing_them_again_gives_the_same(value in values()) {
        let bytes = to_bytes(&value).unwrap();
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(to_bytes(&read).unwrap(), bytes);
    }
}
