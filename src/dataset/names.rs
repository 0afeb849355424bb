//! The names of people and their frequencies, similar to those in the course's files. Used by [`super::people`].

use std::iter::repeat_n;

/// Names, separated by commas, and the number of lots that each of them has in the urn. A name has at most 14 bytes, so
/// two names with a space fit into the 29 bytes of a bet.
pub(super) type Tier = (usize, &'static str);

/// Women's given names.
pub(super) const WOMEN: [Tier; 3] = [
    (10, "Ana,Laura,Silvia,Claudia,Marcela,Patricia,Carolina,Florencia"),
    (
        5,
        "María,Camila,Julieta,Valeria,Gabriela,Daniela,Natalia,Paula,Romina,Cecilia,Agustina,\
         Micaela,Mercedes",
    ),
    (
        1,
        "Noelia,Milagros,Graciela,Norma,Susana,Beatriz,Mirta,Estela,Elena,Yamila,Guadalupe,\
         Delfina,Josefina,Alejandra,Verónica,Lucía,Sofía,Belén,Rocío,Mónica,Ailén,Sol",
    ),
];

/// Men's given names.
pub(super) const MEN: [Tier; 3] = [
    (10, "Juan,Carlos,Luis,Miguel,Jorge,Pablo,Diego,Daniel"),
    (
        5,
        "Facundo,Lucas,Marcelo,Ezequiel,Alejandro,Fernando,Eduardo,Roberto,Ignacio,Federico,\
         Santiago,Mariano,Gustavo",
    ),
    (
        1,
        "Bautista,Lautaro,Gonzalo,Leandro,Ramiro,Oscar,Hugo,Emanuel,Lionel,Claudio,Walter,\
         Francisco,Sergio,Martín,Nicolás,Matías,Agustín,Sebastián,Joaquín,Tomás,Hernán,Raúl,\
         Rubén,Héctor",
    ),
];

/// Surnames. A composite surname counts as one.
pub(super) const SURNAMES: [Tier; 3] = [
    (
        6,
        "González,Rodríguez,Gómez,Romero,Sosa,Torres,Flores,Acosta,Herrera,Silva,Rojas,Molina,\
         Castro,Ortiz,Luna,Cabrera,Godoy,Moreno,Vega",
    ),
    (
        3,
        "Fernández,López,Díaz,Martínez,Pérez,García,Medina,Aguirre,Pereyra,Carrizo,Ferreyra,\
         Ledesma,Peralta,Ojeda,Ponce,Vera,Quiroga,Mansilla,Villalba,Rossi,Bianchi,Ferrari,\
         Arias,Maldonado,Correa,Coronel,Figueroa,Miranda,Paz,Barrios,Toledo,Leiva,Soria,Bravo,\
         Navarro,Mendoza,Campos,Cardozo,Olivera",
    ),
    (
        1,
        "Sánchez,Ramírez,Benítez,Farías,Muñoz,Núñez,Ibáñez,Ordóñez,Peña,Zárate,Giménez,Álvarez,\
         Suárez,Gutiérrez,Agüero,Cáceres,Müller,Echagüe,San Martín,Avellaneda,Bustos,Lorca,\
         Costa,Conti,Ricci,Esposito,Marino,Lombardi,Moretti,Schmidt,Weber,Kowalski,Nowak,\
         Haddad,Etcheverry,Iturralde,Urquiza,Alsina,Pizarro,Chaves,De la Fuente,Del Valle,\
         D'Angelo,D'Alessandro,O'Connor,Di Marco,Della Croce,Zabala,Arce",
    ),
];

/// All lots of `tiers`.
pub(super) fn urn(tiers: &[Tier]) -> Vec<&'static str> {
    let names = tiers.iter().flat_map(|&(lots, names)| names.split(',').map(move |name| (lots, name)));
    names.flat_map(|(lots, name)| repeat_n(name, lots)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_names_fit_a_bet() {
        for name in [WOMEN, MEN, SURNAMES].iter().flat_map(|tiers| urn(tiers)) {
            assert!((1..=14).contains(&name.len()), "{name}");
        }
    }
}
