//! The messages of clients, in the forms of all exercises.

/// A bet to be encoded, valid or not.
pub struct Bet<'a> {
    pub first: &'a [u8],
    pub last: &'a [u8],
    pub document: u32,
    pub birthdate: &'a [u8],
    pub number: u32,
}

impl Default for Bet<'_> {
    fn default() -> Self {
        Self { first: b"Ana", last: b"Paz", document: 30_904_465, birthdate: b"1999-03-17", number: 1 }
    }
}

impl Bet<'_> {
    /// Its bytes in a batch of either form.
    pub fn in_batch(&self) -> Vec<u8> {
        let (document, number) = (self.document.to_be_bytes(), self.number.to_be_bytes());
        [&cstr(self.first)[..], &cstr(self.last), &document, &cstr(self.birthdate), &number].concat()
    }

    /// The whole message of exercise 5.
    pub fn single(&self, agency: u32) -> Vec<u8> {
        let (document, number) = (self.document.to_be_bytes(), self.number.to_be_bytes());
        let agency = agency.to_be_bytes();
        [&agency[..], &pstr(self.first), &pstr(self.last), &document, &pstr(self.birthdate), &number].concat()
    }
}

fn cstr(text: &[u8]) -> Vec<u8> {
    [text, b"\0"].concat()
}

fn pstr(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

/// A batch of exercise 6.
pub fn untyped_batch(agency: u32, bets: &[Bet<'_>]) -> Vec<u8> {
    let encoded: Vec<u8> = bets.iter().flat_map(Bet::in_batch).collect();
    [&agency.to_be_bytes()[..], &[bets.len() as u8], &encoded].concat()
}

/// Type 1.
pub fn batch(agency: u32, bets: &[Bet<'_>]) -> Vec<u8> {
    [&[1][..], &untyped_batch(agency, bets)].concat()
}

/// `count` bets of documents 0, 1, … on `number`, as one batch of type 1.
pub fn batch_of(agency: u32, count: u32, number: u32) -> Vec<u8> {
    let bets: Vec<_> = (0..count).map(|document| Bet { document, number, ..Bet::default() }).collect();
    batch(agency, &bets)
}

/// Type 1 without bets.
pub fn end(agency: u32) -> Vec<u8> {
    batch(agency, &[])
}

/// Type 3.
pub fn ask(agency: u32) -> Vec<u8> {
    [&[3][..], &agency.to_be_bytes()].concat()
}

/// Type 6.
pub fn count(agency: u32) -> Vec<u8> {
    [&[6][..], &agency.to_be_bytes()].concat()
}
