//! An identity provider: keys to sign with, tokens, and its key set over HTTP. The keys guard
//! nothing, so they are the same in each run.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const RSA: &str = include_str!("../keys/rsa.pem");
const P256: &str = include_str!("../keys/p256.pem");

/// One key of a provider.
pub struct SigningKey {
    /// How a key set and a token's header name it.
    pub id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    pub fn rsa(id: &str) -> Self {
        Self::of(
            id,
            RsaKeyPair::from_pkcs8(&der(RSA)).map(|it| Pair::Rsa(Box::new(it))),
        )
    }

    pub fn p256(id: &str) -> Self {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(signing, &der(P256), &SystemRandom::new());
        Self::of(id, pair.map(Pair::P256))
    }

    /// Another key for each seed.
    pub fn ed25519(id: &str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]);
        Self::of(id, pair.map(Pair::Ed25519))
    }

    fn of<E: std::fmt::Display>(id: &str, pair: Result<Pair, E>) -> Self {
        match pair {
            Ok(pair) => Self {
                id: id.to_owned(),
                pair,
            },
            Err(error) => panic!("the key `{id}` cannot be used: {error}"),
        }
    }

    /// The public half, as a key set has it.
    pub fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({ "kty": "RSA", "n": encoded(&n), "e": encoded(&e) })
            }
            Pair::P256(pair) => {
                let (x, y) = pair
                    .public_key()
                    .as_ref()
                    .get(1..)
                    .unwrap_or_default()
                    .split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) })
            }
            Pair::Ed25519(pair) => {
                let x = encoded(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        };
        if let Value::Object(members) = &mut key {
            members.insert("kid".to_owned(), json!(self.id));
            members.insert("use".to_owned(), json!("sig"));
        }
        key
    }

    /// The usual algorithm for a key of this kind.
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "kid": self.id, "typ": "JWT" });
        self.signed(&header.to_string(), &claims.to_string())
    }

    /// A token of this header and these claims, whatever they are.
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let is_pss = header.contains("PS256");
        compact(header, claims, |signed| self.sign(is_pss, signed))
    }

    fn sign(&self, is_pss: bool, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = if is_pss {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                match pair.sign(padding, &random, signed, &mut signature) {
                    Ok(()) => signature,
                    Err(error) => panic!("cannot sign: {error}"),
                }
            }
            Pair::P256(pair) => match pair.sign(&random, signed) {
                Ok(signature) => signature.as_ref().to_vec(),
                Err(error) => panic!("cannot sign: {error}"),
            },
            Pair::Ed25519(pair) => pair.sign(signed).as_ref().to_vec(),
        }
    }
}

/// A token in compact form, signed by anything.
pub fn compact(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!(
        "{}.{}",
        encoded(header.as_bytes()),
        encoded(claims.as_bytes())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encoded(&signature))
}

pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key set of these keys.
pub fn key_set<'a>(keys: impl IntoIterator<Item = &'a SigningKey>) -> Value {
    let keys: Vec<_> = keys.into_iter().map(SigningKey::public).collect();
    json!({ "keys": keys })
}

fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    match STANDARD.decode(lines.collect::<String>()) {
        Ok(der) => der,
        Err(error) => panic!("not PEM: {error}"),
    }
}

/// A server that answers every request with the same, until told otherwise.
pub struct KeyServer {
    pub address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub async fn start(keys: &Value) -> Self {
        let listener = match TcpListener::bind("127.0.0.1:0").await {
            Ok(listener) => listener,
            Err(error) => panic!("cannot listen: {error}"),
        };
        let Ok(address) = listener.local_addr() else {
            panic!("no address")
        };
        let server = Self {
            address,
            answer: Arc::default(),
            asked: Arc::default(),
        };
        server.answer_keys(keys);
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub fn answer_keys(&self, keys: &Value) {
        self.answer_with(
            "200 OK",
            "content-type: application/json\r\n",
            &keys.to_string(),
        );
    }

    /// The status, headers of whole lines, and the body.
    pub fn answer_with(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// How often it was asked so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
