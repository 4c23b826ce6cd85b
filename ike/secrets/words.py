"""What people type where a secret belongs: words, names and how letters follow each other in them. Pure."""

import hashlib
import math
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Final

# What examples show, what devices come with, and what stands for a secret; compared without case, with digits read as
# the letters that they stand for. A value that is made of these alone is a common one.
COMMON: Final = frozenset(
    (
        "password passwd passphrase passwort secret secrets geheim sharedsecret presharedkey preshared preshare psk"
        " vpn vpnkey vpnpassword ipsec ipsecvpn ike ikev2 swan strongswan libreswan openswan freeswan pluto charon"
        " swanctl racoon tunnel tunnelkey gateway firewall router cisco juniper fortinet fortigate paloalto sonicwall"
        " watchguard mikrotik vyos vyatta pfsense opnsense ubiquiti edgerouter zyxel draytek checkpoint azure amazon"
        " admin administrator root user guest test testing tester testkey default changeme change replace replaceme"
        " example sample demo lab mykey mysecret mypassword mypsk yourkey yoursecret yourpassword yourpsk verysecret"
        " topsecret supersecret strongpassword longsecret letmein welcome login access master key keykey private"
        " company office branch site sitetosite hub spoke hello world qwerty azerty abc abcd monkey dragon iloveyou"
        " sunshine princess football baseball superman batman shadow trustno trustnoone whatever computer internet"
        " network server security summer winter spring autumn january february march april june july august september"
        " october november december monday friday sunday insecure thisisasecret thisisaverysecurekey dontusethis"
        " sharedkey jrx roadwarrior roadwarriors eastwest westeast foobar foobarbaz dictionary placeholder"
        " pre shared post quantum extra"
        # in other scripts, read in Latin letters; and what their keyboards give for Latin ones
        " parol sekret privet klyuch lyubov ytsuken gfhjkm ghbdtn kodikos mystiko"
    ).split()
)

# Words of several languages, names of people, places and things. Not all that there are: how their letters follow
# each other tells other words from random letters.
_OTHERS: Final = (
    "the and that have with this from they what which when make like time just know take people into year your good"
    " some could them other than then look only come over think also back after work first well even want because"
    " these give most house school water mother father brother sister city street garden window table chair river"
    " mountain island ocean forest summerhouse morning evening night light dark black white green yellow orange"
    " purple silver golden horse tiger lion eagle falcon correct battery staple quick brown jumps lazy coffee"
    " cheese chocolate bread butter apple banana cherry potato tomato chicken music dance guitar piano movie book"
    " letter number phone mobile camera engine machine factory company limited group global international national"
    " system manager service support connection remote central north south east west corporate headquarter building"
    " warehouse data center backup primary secondary production development staging customer partner provider"
    " bank hospital university college station airport harbour market shop store hotel kitchen bathroom bedroom"
    " love peace freedom happy lucky power strong strength secure safe trust believe forever always never nothing"
    " something everything mountainbike champion winner captain soldier king queen prince castle knight wizard magic"
    " und der die das nicht ist ein eine einen mit auf fuer von wir ihr sie haben werden kann muss sein auch nach"
    " haupt strasse hauptstrasse schule wasser haus garten fenster tisch stuhl fluss berg insel wald morgen abend"
    " nacht licht dunkel schwarz weiss gruen gelb blau rot pferd hund katze vogel adler kaffee kaese brot butter apfel"
    " kirsche kartoffel kuchen musik gitarre buch brief nummer telefon maschine fabrik firma gesellschaft gruppe"
    " verbindung zentrale norden sueden osten westen standort niederlassung rechenzentrum lager krankenhaus"
    " bahnhof flughafen hafen markt laden kueche zimmer liebe frieden freiheit gluecklich kraft stark sicher immer"
    " niemals sommer herbst fruehling sonntag montag dienstag mittwoch donnerstag freitag samstag januar februar maerz"
    " mai juni juli oktober dezember donau dampf schiff fahrt versicherung schluessel kennwort geheimnis wichtig"
    " les des une dans pour pas que qui sur avec tout plus bien faire etre avoir mais comme nous vous leur maison ecole"
    " eau mere pere frere soeur ville rue jardin fenetre chaise fleuve montagne ile foret matin soir nuit lumiere noir"
    " blanc vert jaune rouge bleu cheval chien chat oiseau fromage pain beurre pomme cerise gateau musique livre lettre"
    " numero telephone machine usine societe groupe reseau serveur bureau siege banque hopital gare aeroport marche"
    " magasin cuisine chambre amour paix liberte heureux force secours toujours jamais soleil motdepasse bonjour"
    " janvier fevrier mars avril juin juillet aout septembre octobre novembre decembre lundi mardi mercredi jeudi"
    " vendredi samedi dimanche ciel pont"
    " los las una para por como pero mas todo esta casa escuela agua madre padre hermano ciudad calle ventana mesa"
    " montana bosque manana noche negro blanco verde amarillo rojo caballo perro gato queso pan manzana libro carta"
    " empresa oficina banco mercado tienda cocina amor libertad fuerza seguro siempre nunca contrasena clave hola"
    " della delle sono non che con questo casa scuola acqua citta strada giardino finestra tavolo sedia fiume montagna"
    " mattina sera notte luce nero bianco rosso cavallo cane gatto formaggio pane mela libro azienda ufficio banca"
    " mercato cucina amore pace forza sicuro sempre ciao segreto chiave estate inverno"
    " het een van niet voor zijn maar huis straat tuin venster rivier berg avond nacht wachtwoord geheim veilig zomer"
    " zhong guo zhongguo beijing shanghai guangzhou shenzhen hangzhou nanjing wuhan chengdu tianjin xiamen women nihao"
    " woaini xiexie zhang wang liu chen yang huang zhao zhou xiao ming hong jiang mima gongsi wangluo anquan shijie"
    " london paris lyon berlin hamburg munich muenchen koeln frankfurt stuttgart leipzig dresden zurich zuerich geneva"
    " geneve basel vienna wien graz milano roma napoli torino madrid barcelona sevilla lisboa porto amsterdam rotterdam"
    " utrecht brussels bruxelles antwerp oslo bergen stockholm copenhagen helsinki warsaw warszawa krakow prague praha"
    " budapest athens moscow istanbul dubai mumbai delhi tokyo osaka seoul singapore sydney melbourne toronto montreal"
    " chicago boston newyork seattle denver dallas houston atlanta miami austin france germany deutschland schweiz"
    " austria italia espana england scotland ireland poland sweden norway denmark finland europe america africa asia"
    " marseille toulouse nantes bordeaux lille nice dublin manchester birmingham liverpool glasgow edinburgh"
    " anna maria peter thomas michael stefan andreas martin daniel david christian alexander sebastian julia laura"
    " sarah jennifer jessica nicole james john robert william richard charles joseph george edward jean pierre jacques"
    " michel marie sophie claire carlos juan jose miguel pedro luis paolo marco giovanni giuseppe francesco"
    " mueller schmidt schneider fischer weber meyer wagner becker smith johnson brown jones garcia"
    " acme contoso initech globex northwind microsoft google apple oracle siemens bosch bmw volkswagen mercedes audi"
    " porsche ferrari toyota honda nokia ericsson samsung huawei dell lenovo linux ubuntu debian windows android"
    " iphone asterix gandalf starwars pokemon batterie naruto minecraft arsenal chelsea juventus bayern dortmund"
    " gateways laptop desktop switch printer cloud aws gcp wifi wlan lan wan dmz"
).split()

# The words between others, which nobody draws with dice.
FREQUENT: Final = frozenset(
    (
        "the of to is in it my we our and for you are on at an be or as by from with this that"
        " der die das und ist ein eine im am zu von mit fuer ich wir es den dem des mein unser nicht"
        " le la les un une et de du en est que qui pour mon notre dans el los las es y con por para mi"
        " est sont suis ist bin sind sie und are was il lo gli di per het van een op voor"
    ).split()
)

# English ones, the most frequent first: how sentences without blanks are put together.
_RANKED: Final = (
    "the of and to a in is it you that he was for on are with as i his they be at one have this from or had by not but"
    " what all were we when your can said there use an each which she do how their if will up other about out many"
    " then them these so some her would make like him into time has look two more write go see no way could people my"
    " than first been call who its now find long down day did get come made may part over new work know place year me"
    " back give most very after thing our just name good man think say great where help through much before line right"
    " too old any same tell boy want show also here life love never only must live world own still let last ever night"
    " such because does turn why ask went men need land home us try kind hand picture again change off play away house"
    " point page question answer found study learn should truth best worst king god secret key mine nothing every"
).split()

ALL: Final = COMMON | {word for word in _OTHERS if len(word) > 2}
_UNSEEN: Final = 0.3
LONGEST: Final = max(map(len, ALL))


@cache
def followers() -> dict[str, float]:
    """Bits of a letter after another one, by pair, in words of Latin script; a first letter after a space."""
    pairs = Counter(
        first + second for word in sorted(ALL) for first, second in pairwise(" " + word)
    )
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = {}
    for first in " " + letters:
        total = sum(pairs[first + second] for second in letters) + len(letters) * _UNSEEN
        for second in letters:
            found[first + second] = -math.log2((pairs[first + second] + _UNSEEN) / total)
    return found


@cache
def digests() -> frozenset[bytes]:
    """MD5, SHA-1 and SHA-256 of the words, as `printf` and as `echo` hand them on."""
    return frozenset(
        hashlib.new(name, octets, usedforsecurity=False).digest()
        for word in ALL
        for text in (word, word.capitalize(), f"{word}123")
        for octets in (text.encode(), f"{text}\n".encode())
        for name in ("md5", "sha1", "sha256")
    )


@cache
def ranks() -> dict[str, float]:
    """Bits of a word in a sentence, by how often it comes (Zipf): those of all words together are one word's."""
    ranked = list(dict.fromkeys((*_RANKED, *sorted(ALL))))
    total = sum(1 / rank for rank in range(1, len(ranked) + 1))
    return {word: math.log2(rank * total) for rank, word in enumerate(ranked, 1)}
