"""The simulator's vocabulary: places, people, firms, models and the words about them. Data, no logic.

Names and texts are inventions of this project; countries and cities are real. ``PLACES`` holds one entry
for each of 122 customers, the mix of the real shop, quirks included: spellings with stray spaces, codes
that several places share, places that have none, customers who never ordered.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where a customer is; ``country`` and ``city`` as they are (mis)spelled in the order system."""

    country: str
    city: str
    state: str | None
    code: str | None
    buyers: int
    sleepers: int = 0
    looked_after: bool = False


class Culture(NamedTuple):
    """How people, firms and streets are called somewhere. ``{}`` stands for a family name."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    firms: tuple[str, ...]
    streets: tuple[str, ...]
    second_lines: tuple[str, ...]


PLACES: tuple[Place, ...] = (
    # One code for four cities: joining on it multiplies orders.
    Place("USA", "San Francisco", "CA", "94010", 3),
    Place("USA", "Burlingame", "CA", "94010", 1),
    Place("USA", "Brisbane", "CA", "94010", 1),
    Place("USA", "San Mateo", "CA", "94010", 1),
    Place("USA", "NYC", "NY", "10022", 5),
    Place("USA", "Boston", "MA", "02108", 2),
    Place("USA", "Cambridge", "MA", "02139", 2),
    Place("USA", "New Bedford", "MA", "02740", 2),
    Place("USA", "Springfield", "MA", "01103", 0, 1, looked_after=True),
    Place("USA", "Philadelphia", "PA", "19103", 2),
    Place("USA", "Allentown", "PA", "18101", 1),
    Place("USA", "Newark", "NJ", "07102", 1),
    Place("USA", "White Plains", "NY", "10601", 1),
    Place("USA", "New Haven", "CT", "06510", 2),
    Place("USA", "Hartford", "CT", "06103", 1),
    Place("USA", "Nashua", "NH", "03060", 1),
    Place("USA", "Las Vegas", "NV", "89101", 1),
    Place("USA", "San Diego", "CA", "92101", 1),
    Place("USA", "Los Angeles", "CA", "90012", 2),
    Place("USA", "Pasadena", "CA", "91101", 1),
    Place("USA", "Glendale", "CA", "91203", 2),
    Place("USA", "San Jose", "CA", "95113", 1),
    Place("USA", "Portland", "OR", "97201", 1),
    Place("Canada", "Vancouver", "BC", "V6B 1A1", 1),
    Place("Canada", "Victoria", "BC", "V8W 1P6", 1),
    Place("Canada", "Montréal", "Québec", "H2Y 1C6", 1),
    Place("Germany", "Frankfurt", None, "60311", 1, 1),
    Place("Germany", "Köln", None, "50667", 1, 1),
    Place("Germany", "München", None, "80331", 1, 1),
    Place("Germany", "Berlin", None, "10117", 0, 2),
    Place("Germany", "Hamburg", None, "20095", 0, 1),
    Place("Germany", "Leipzig", None, "04109", 0, 1),
    Place("Germany", "Dresden", None, "01067", 0, 1),
    Place("Germany", "Stuttgart", None, "70173", 0, 1),
    Place("Germany", "Münster", None, "48143", 0, 1),
    Place("France", "Paris", None, "75012", 3),
    Place("France", "Nantes", None, "44000", 2),
    Place("France", "Lyon", None, "69002", 2),
    Place("France", "Lille", None, "59000", 1),
    Place("France", "Toulouse", None, "31000", 1),
    Place("France", "Strasbourg", None, "67000", 1),
    Place("France", "Marseille", None, "13001", 1),
    Place("France", "Reims", None, "51100", 1),
    Place("Spain", "Madrid", None, "28001", 3, 1),
    Place("Spain", "Barcelona", None, "08022", 1),
    Place("Spain", "Sevilla", None, "41001", 1),
    Place("Spain", "Málaga", None, "29001", 0, 1),
    Place("Australia", "Melbourne", "Victoria", "3004", 1),
    Place("Australia", "Glen Waverley", "Victoria", "3150", 1),
    Place("Australia", "North Sydney", "NSW", "2060", 1),
    Place("Australia", "Chatswood", "NSW", "2067", 1),
    Place("Australia", "South Brisbane", "Queensland", "4101", 1),
    # A country without a single postal code: an inner join on it loses the country.
    Place("New Zealand", "Auckland", None, None, 1),
    Place("New Zealand", "Auckland  ", None, None, 2),
    Place("New Zealand", "Wellington", None, None, 1),
    Place("UK", "London", None, "WC1B 3DG", 2),
    Place("UK", "Manchester", None, "M1 4BT", 1),
    Place("UK", "Liverpool", None, "L1 8JQ", 1),
    Place("UK", "Cowes", "Isle of Wight", "PO31 7AA", 1),
    # The same code in two countries, as it really is: Roma and Helsinki, Salzburg and Bergen.
    Place("Italy", "Roma", None, "00100", 1),
    Place("Italy", "Torino", None, "10121", 1),
    Place("Italy", "Bergamo", None, "24121", 1),
    Place("Italy", "Milano", None, None, 1),
    Place("Finland", "Helsinki", None, "00100", 1),
    Place("Finland", "Oulu", None, "90100", 1),
    Place("Finland", "Espoo", None, "FIN-02100", 1),
    Place("Austria", "Salzburg", None, "5020", 1),
    Place("Austria", "Wien", None, "1010", 1),
    # One country, two spellings.
    Place("Norway  ", "Bergen", None, "5020", 1),
    Place("Norway  ", "Oslo", None, "N 0151", 1),
    Place("Norway", "Stavern", None, "3290", 1),
    Place("Sweden", "Luleå", None, "S-972 31", 1),
    Place("Sweden", "Stockholm", None, "S-111 52", 1),
    Place("Denmark", "København", None, "1620", 1),
    Place("Denmark", "Århus", None, "8000", 1),
    Place("Belgium", "Bruxelles", None, "B-1180", 1),
    Place("Belgium", "Charleroi", None, "B-6000", 1),
    Place("Switzerland", "Genève", None, "1203", 1),
    Place("Switzerland", "Zürich", None, "8001", 0, 1),
    Place("Switzerland", "Lausanne", None, "1003", 0, 1, looked_after=True),
    Place("Portugal", "Lisboa", None, "1100", 0, 1),
    Place("Portugal", "Porto", None, "4050", 0, 1),
    Place("Ireland", "Dublin", None, "2", 1),
    Place("Ireland", "Cork", "Co. Cork", None, 0, 1),
    Place("Netherlands", "Amsterdam", None, "1012 LG", 0, 1),
    Place("Poland", "Warszawa", None, "00-001", 0, 1),
    Place("Russia", "Saint Petersburg", None, "190000", 0, 1),
    Place("Israel", "Haifa", None, "32000", 0, 1),
    Place("South Africa", "Johannesburg", None, "2001", 0, 1),
    Place("Singapore", "Singapore", None, "018956", 1),
    Place("Singapore", "Singapore", None, "049315", 1, 1),
    Place("Hong Kong", "Central Hong Kong", None, None, 1),
    Place("Philippines", "Makati City", None, "1226", 1),
    Place("Japan", "Kita-ku", "Osaka", " 530-0001", 1),
    Place("Japan", "Minato-ku", "Tokyo", "106-0032", 1),
)

#: Country to culture; every other country is "english".
CULTURE_OF = {
    "Germany": "german", "Austria": "german", "Switzerland": "german",
    "France": "french", "Belgium": "french",
    "Spain": "iberian", "Portugal": "iberian", "Philippines": "iberian",
    "Italy": "italian",
    "Finland": "nordic", "Sweden": "nordic", "Norway": "nordic", "Denmark": "nordic",
    "Japan": "japanese",
}  # fmt: skip

CULTURES: dict[str, Culture] = {
    "english": Culture(
        ("Alice", "Brenda", "Calvin", "Dorothy", "Elliot", "Fiona", "Graham", "Harriet", "Isaac", "Joyce", "Kenneth",
         "Lorna", "Marcus", "Nadine", "Oscar", "Phyllis", "Russell", "Sylvia", "Trevor", "Wanda"),
        ("Ashdown", "Birchall", "Crawley", "Dunmore", "Eastwick", "Fairbank", "Greaves", "Hollis", "Inglewood",
         "Jessop", "Kirkbride", "Lockhart", "Merriman", "Northcote", "Oakes", "Penrose", "Quigley", "Redfern",
         "Stanhope", "Thorne", "Underhill", "Vickery", "Wetherby", "Yardley"),
        ("{} Scale Imports", "{} Model Works", "{} & Daughters, Ltd", "{} Hobby Traders Inc.", "The {} Collection",
         "{} Miniature Motors", "{} Gift Company", "{}'s Toy Cellar", "{} Die-cast Exchange, Co."),
        ("Harbour Road", "Quarry Ln.", "Mill Pond Dr.", "Station Rd.", "Orchard Blvd.", "Foundry St.", "Lighthouse Av.",
         "Meridian Way", "Old Tannery Rd.", "Canal St."),
        ("Suite 210", "Level 4", "Unit 7B", "2nd Floor", "Building C"),
    ),
    "german": Culture(
        ("Anke", "Bernd", "Dörte", "Ernst", "Frieda", "Gunther", "Heike", "Jürgen", "Lotte", "Matthias", "Renate",
         "Uwe"),
        ("Ackerl", "Brandner", "Dietzel", "Eberlein", "Faßbinder", "Grünwald", "Hartwig", "Kessler", "Lindenau",
         "Möckel",
         "Rothaupt", "Steinbrück", "Vogelsang", "Wittkamp"),
        ("{} Modellbau", "{} Spielwaren GmbH", "{} & Söhne", "Miniaturen {}", "Sammlerhaus {}", "{} Kleinserien AG"),
        ("Gerberstr.", "Am Mühlbach", "Ringstr.", "Kastanienallee", "Schloßgasse", "Hafenweg"),
        ("Hinterhaus", "Gebäude 3", "2. Stock"),
    ),
    "french": Culture(
        ("Agnès", "Bastien", "Colette", "Denis", "Élodie", "Fabrice", "Gisèle", "Hugo", "Luc", "Manon", "Noël",
         "Sabine"),
        ("Aubriot", "Beaumarché", "Castelnau", "Delorme", "Fauvette", "Garrigue", "Hérault", "Jolivet", "Lacombe",
         "Marchandeau", "Périer", "Rouvière", "Tessier", "Vauquelin"),
        ("{} Miniatures", "Au Petit {}", "Maison {} & Fils", "{} Cadeaux, S.A.", "Les Modèles {}", "Galerie {}"),
        ("rue des Tanneurs", "quai de la Bourse", "avenue du Moulin", "place de l'Église", "boulevard des Tilleuls",
         "rue Haute"),
        ("Bâtiment B", "2e étage", "Cour intérieure"),
    ),
    "iberian": Culture(
        ("Adela", "Benito", "Carmela", "Esteban", "Inés", "Joaquín", "Leonor", "Mateo", "Nuria", "Paloma", "Rufino"),
        ("Alcázar", "Barroso", "Cordero", "Escudero", "Fuentes", "Gallardo", "Ibáñez", "Lozano", "Montalvo", "Olmedo",
         "Quintero", "Rebolledo", "Sarmiento", "Valverde"),
        ("{} Miniaturas, S.L.", "Casa {}", "{} Coleccionistas", "Juguetes {}", "{} e Hijos"),
        ("C/ del Molino,", "Paseo del Puerto,", "Avda. de la Estación,", "Plaza Mayor,", "C/ Jardín,"),
        ("2º izquierda", "Local 4", "Edificio Sur"),
    ),
    "italian": Culture(
        ("Aldo", "Bianca", "Cesare", "Donatella", "Elio", "Flavia", "Ivano", "Lidia", "Nicolò", "Ornella"),
        ("Albertazzi", "Brambati", "Colonnese", "Dall'Orto", "Guidobono", "Lombardini", "Niccolini", "Orsatti",
         "Pellegrino", "Tavazzi"),
        ("{} Modellismo", "Giocattoli {}", "{} & Figli", "La Bottega {}"),
        ("Via del Mulino", "Corso della Stazione", "Piazza dei Mercanti", "Via San Felice"),
        ("Scala B", "Interno 5"),
    ),
    "nordic": Culture(
        ("Aino", "Bjarne", "Dagny", "Eero", "Gudrun", "Håkon", "Inga", "Jørgen", "Kirsti", "Mårten", "Solveig",
         "Tapio"),
        ("Ahlström", "Bergby", "Dalsgård", "Ekholm", "Fjelland", "Grönvall", "Haugland", "Lindqvist", "Mäkinen",
         "Nordahl", "Søndergaard", "Virtala"),
        ("{} Modeller", "{} Hobby Oy", "{} Leker AS", "{} & Co. Samlerhus"),
        ("Strandgata", "Kyrkogatan", "Møllevej", "Havnegade", "Rantatie", "Skolegata"),
        ("PB 417", "3. etasje"),
    ),
    "japanese": Culture(
        ("Akemi", "Daichi", "Emiko", "Haruto", "Kaori", "Masato", "Noriko", "Shinji"),
        ("Aoyagi", "Fujikawa", "Hamasaki", "Kuroda", "Morinaga", "Nakahara", "Shimizu", "Tachibana"),
        ("{} Models, Co.", "{} Hobby K.K.", "{} Minicar Shop"),
        ("-4-12 Minatomachi", "-7-3 Sakuradori", "-2-21 Kawabe"),
        ("3F", "Dai-ni Building"),
    ),
}  # fmt: skip

#: Country to telephone number, ``#`` for a digit; every other country's is the last.
PHONES = {
    "USA": "###555####", "Canada": "(604) 555-####", "Germany": "0###-555####", "France": "##.##.5555",
    "Spain": "(9#) 555 ## ##", "Australia": "0# 9### 5555", "New Zealand": "+64 9 ### 5555", "UK": "(171) 555-####",
    "Italy": "0##-555####", "Finland": "90-### 8555", "Norway": "+47 22## 1555", "Sweden": "0###-## 3555",
    "Denmark": "## ## 3555", "Belgium": "(0##) 5554 ##", "Japan": "+81 ## #### 5555", "Singapore": "+65 ### 1555",
    "": "+## # ### 5555",
}  # fmt: skip

#: Sales territory of a country; every other country is in "EMEA".
TERRITORY_OF = {
    "USA": "NA", "Canada": "NA", "Japan": "Japan", "Australia": "APAC", "New Zealand": "APAC", "Singapore": "APAC",
    "Hong Kong": "APAC", "Philippines": "APAC",
}  # fmt: skip

#: officeCode, city, phone, addressLine1, addressLine2, state, country, postalCode, territory
OFFICES: tuple[tuple[str | None, ...], ...] = (
    ("1", "San Francisco", "+1 415 555 0100", "18 Lighthouse Square", "Suite 500", "CA", "USA", "94105", "NA"),
    ("2", "Boston", "+1 617 555 0117", "240 Old Tannery Road", "Suite 12", "MA", "USA", "02108", "NA"),
    ("3", "NYC", "+1 212 555 0142", "77 Canal Street", "apt. 9C", "NY", "USA", "10013", "NA"),
    ("4", "Paris", "+33 1 55 55 01 23", "9 quai de la Bourse", None, None, "France", "75002", "EMEA"),
    ("5", "Tokyo", "+81 3 5555 0177", "2-21 Kawabe", None, "Chiyoda-Ku", "Japan", "100-0005", "Japan"),
    ("6", "Sydney", "+61 2 5550 0199", "41 Wharf Parade", "Floor #3", None, "Australia", "NSW 2000", "APAC"),
    ("7", "London", "+44 20 5555 0188", "3 Foundry Yard", "Level 2", None, "UK", "EC1A 1BB", "EMEA"),
)

#: Office codes of the sales representatives of a small shop, as many as the real one had, in this order.
REP_OFFICES = ("1", "1", "2", "2", "3", "3", "4", "4", "4", "7", "7", "6", "6", "6", "5", "5", "4")

STAFF_FIRST = (
    "Martha", "Edmund", "Clara", "Rupert", "Odile", "Vincent", "Judith", "Desmond", "Paula", "Gideon", "Hanne",
    "Laurent", "Miriam", "Duncan", "Estelle", "Felix", "Rosalind", "Anton", "Beatriz", "Kiyomi", "Tadashi", "Nigel",
    "Simone",
)  # fmt: skip
STAFF_LAST = (
    "Whitlock", "Barrow", "Ellery", "Sandoval", "Fontaine", "Keating", "Morrow", "Tilbury", "Hargreave", "Castell",
    "Lindgren", "Osborne", "Pryor", "Radcliff", "Sorrell", "Tanaka", "Venables", "Winslow", "Ito", "Marchetti",
    "Drummond", "Ferris", "Gallagher",
)  # fmt: skip


class Line(NamedTuple):
    """A product line: products of 110, order lines of 1,000, list prices in cents."""

    name: str
    products: int
    share: int
    cheapest: int
    dearest: int
    scales: tuple[str, ...]
    text: str


LINES: tuple[Line, ...] = (
    Line("Classic Cars", 38, 337, 4300, 19300, ("1:18", "1:24", "1:12", "1:10", "1:18"),
         "Sports cars, saloons and coupés from the decades when chrome was cheap and corners were fast. Doors open, "
         "wheels turn, and every badge is where it was on the day the original left the works."),
    Line("Vintage Cars", 24, 219, 3350, 14100, ("1:18", "1:24", "1:18"),
         "Touring cars, runabouts and landaulets from the first fifty years of motoring, in die-cast metal with "
         "brass-coloured lamps and spoked wheels. Each comes with a numbered certificate."),
    Line("Motorcycles", 13, 120, 3800, 15700, ("1:10", "1:12", "1:18", "1:24", "1:32"),
         "Singles, twins and fours with working stands, chains and forks. Small parts: made to be looked at, and to "
         "be picked up with care."),
    Line("Trucks and Buses", 11, 103, 5400, 15300, ("1:18", "1:24", "1:32", "1:50"),
         "Lorries, fire engines and omnibuses that carried towns from one end to the other. Tippers tip and ladders "
         "turn."),
    Line("Planes", 12, 112, 4800, 13100, ("1:72", "1:24", "1:700", "1:18"),
         "Mail planes, flying boats and early jets, with turning propellers and a stand for the desk."),
    Line("Ships", 9, 82, 5200, 12100, ("1:700", "1:700", "1:72", "1:18"),
         "Clippers, liners and paddle steamers, rigged by hand on a base of varnished wood."),
    Line("Trains", 3, 27, 4400, 10400, ("1:18", "1:32", "1:50"),
         "Locomotives and tramcars with lit headlamps and moving rods, on a length of track of their own."),
)  # fmt: skip

MAKES = (
    "Ardenza", "Bellweather", "Corvara", "Delmarche", "Estrella", "Falkner", "Giardini", "Hartley", "Isolde", "Jarvik",
    "Kestrel", "Lancaster & Moor", "Marivaux", "Norvik", "Orsini", "Pemberton", "Quicksilver", "Ravello", "Sturmer",
    "Tamarind", "Ulster", "Vallone", "Wexford", "Zephyrine",
)  # fmt: skip
BODIES = {
    "Classic Cars": ("Spider", "Gran Turismo", "GT 2+2", "Convertible", "Fastback", "Berlinetta", "Saloon", "Roadster"),
    "Vintage Cars": ("Tourer", "Phaeton", "Landaulet", "Runabout", "Torpedo", "Boattail Speedster", "Limousine"),
    "Motorcycles": ("Twin 500", "Scrambler", "Sidecar Combination", "Racing Single", "Cruiser", "Scooter"),
    "Trucks and Buses": ("Fire Engine", "Double-decker Bus", "Milk Lorry", "Tipper Truck", "Coach", "Pickup"),
    "Planes": ("Mail Plane", "Flying Boat", "Biplane", "Jet Trainer", "Seaplane", "Airliner"),
    "Ships": ("Clipper", "Paddle Steamer", "Ocean Liner", "Schooner", "Fishing Trawler", "Frigate"),
    "Trains": ("Tank Locomotive", "Tramcar", "Diesel Railcar", "Express Locomotive"),
}
#: First and last year of the originals of each product line.
YEARS = {
    "Classic Cars": (1948, 1999), "Vintage Cars": (1903, 1948), "Motorcycles": (1936, 2003),
    "Trucks and Buses": (1926, 1980), "Planes": (1918, 1982), "Ships": (1790, 1960), "Trains": (1880, 1965),
}  # fmt: skip

VENDORS = (
    "Brassbound Replicas", "Copperfield Castings", "Dovetail Miniatures", "Eightgauge Models", "Fine Scale Foundry",
    "Gantry & Sons", "Halfpenny Die-cast", "Ironmonger Row Studio", "Jewelled Wheel Works", "Kiln Street Metalcraft",
    "Little Garage Editions", "Mainspring Art Models", "Nutshell Motor Museum",
)  # fmt: skip

FEATURES = (
    "Opening doors and boot", "steering wheels that steer", "soft rubber tyres", "a detailed engine",
    "photo-etched badges", "turning wheels", "hand-applied stripes", "an interior with carpet", "plated bumpers",
    "working suspension", "a removable hood", "a numbered base plate", "glass-clear lamps", "baked enamel paint",
    "a display case",
)  # fmt: skip
REMARKS = (
    "Colour: racing green.", "Colour: ivory over maroon.", "Limited to 2,500 pieces.",
    "Not suitable for small children.",
    "Assembled and ready to display.", "Comes with its history on a card.", "Colour: midnight blue.",
)  # fmt: skip

SALES_REMARKS = (
    "Please call before delivery.", "Asked for the new catalogue with this order.",
    "Wants the same packing as last time.",
    "Delivery on weekday mornings only.", "Agreed on a discount for the next order over 50 units.",
    "Mark the boxes as fragile.", "Buyer asked for certificates to be sent separately.",
    "They would rather have the blue version where there is a choice.", "Check stock of the smaller scales first.",
    "Shipping cost to be shared as discussed on the phone.",
    "The invoice goes to the head office, the goods to the shop.",
    "Wants to know when the next trains arrive.", "Goods are a present; no price list in the box.",
    " The customer prefers e-mail to the telephone.",
    "Very pleased with the last delivery.  Would like to be a reference.",
    "Second delivery address for the planes.", "Their own forwarder collects.",
    "Asked whether we make aéroplanes of wood.",
)  # fmt: skip
STATUS_REMARKS = {
    "Cancelled": (
        "Cancelled by telephone before the warehouse had packed it.", "Ordered twice by mistake; this one is void.",
        "The shop closes down; cancelled by the administrator.",
        "Found the models cheaper elsewhere and withdrew the order.",
    ),
    "Cancelled yet shipped": (
        "Cancelled after the goods had left. They come back at our expense.",
        "Refused at the door; cancelled although shipped.",
    ),
    "On Hold": (
        "Over the credit limit. Waiting for a payment.", "On hold until the missing model is back in stock.",
        "New credit check required before this ships.",
    ),
    "Disputed": (
        "Says that two boxes were missing. Forwarder asked.",
        "Paint damage claimed on five pieces; photographs requested.",
    ),
    "Resolved": (
        "Was disputed: the missing box was found and delivered.", "Was disputed: we replaced the damaged pieces.",
    ),
}  # fmt: skip
