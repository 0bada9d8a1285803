"""The languages that can be named: a row each, and other codes of theirs."""

from __future__ import annotations

#: code, ISO 639-3, Flores-101, NTREX-128, name.  "=" repeats ISO 639-3; "." means: not in it.
#: The last ones are in Flores-200, under their ISO 639-3 code and a script.
#: Flores `ful` is Nigerian Fulfulde and NTREX `fuc` Pulaar: two languages, two rows.
TABLE = """
af   afr =         =        Afrikaans
am   amh =         =        Amharic
ar   ara =         arb      Arabic
as   asm =         .        Assamese
ast  ast =         .        Asturian
az   azj =         aze-Latn Azerbaijani
be   bel =         =        Belarusian
bg   bul =         =        Bulgarian
bn   ben =         =        Bengali
bs   bos =         =        Bosnian
ca   cat =         =        Catalan
ceb  ceb =         .        Cebuano
ckb  ckb =         ckb-Arab Central Kurdish
cs   ces =         =        Czech
cy   cym =         =        Welsh
da   dan =         =        Danish
de   deu =         =        German
el   ell =         =        Greek
en   eng =         =        English
es   spa =         =        Spanish
et   est =         =        Estonian
fa   fas =         =        Persian
ff   ful =         .        Fula
fi   fin =         =        Finnish
fr   fra =         =        French
ga   gle =         =        Irish
gl   glg =         =        Galician
gu   guj =         =        Gujarati
ha   hau =         =        Hausa
he   heb =         =        Hebrew
hi   hin =         =        Hindi
hr   hrv =         =        Croatian
hu   hun =         =        Hungarian
hy   hye =         =        Armenian
id   ind =         =        Indonesian
ig   ibo =         =        Igbo
is   isl =         =        Icelandic
it   ita =         =        Italian
ja   jpn =         =        Japanese
jv   jav =         .        Javanese
ka   kat =         =        Georgian
kam  kam =         .        Kamba
kea  kea =         .        Kabuverdianu
kk   kaz =         =        Kazakh
km   khm =         =        Khmer
kn   kan =         =        Kannada
ko   kor =         =        Korean
ky   kir =         =        Kyrgyz
lb   ltz =         =        Luxembourgish
lg   lug =         .        Ganda
ln   lin =         .        Lingala
lo   lao =         =        Lao
lt   lit =         =        Lithuanian
luo  luo =         .        Luo
lv   lav =         =        Latvian
mi   mri =         =        Maori
mk   mkd =         =        Macedonian
ml   mal =         =        Malayalam
mn   mon =         =        Mongolian
mr   mar =         =        Marathi
ms   msa =         =        Malay
mt   mlt =         =        Maltese
my   mya =         =        Burmese
ne   npi =         nep      Nepali
nl   nld =         =        Dutch
no   nob =         =        Norwegian
nso  nso =         =        Northern Sotho
ny   nya =         =        Nyanja
oc   oci =         .        Occitan
om   orm =         =        Oromo
or   ory =         .        Oriya
pa   pan =         =        Punjabi
pl   pol =         =        Polish
ps   pus =         =        Pashto
pt   por =         =        Portuguese
ro   ron =         =        Romanian
ru   rus =         =        Russian
sd   snd =         snd-Arab Sindhi
sk   slk =         =        Slovak
sl   slv =         =        Slovenian
sn   sna =         sna-Latn Shona
so   som =         =        Somali
sr   srp =         srp-Cyrl Serbian
sv   swe =         =        Swedish
sw   swh =         swa      Swahili
ta   tam =         =        Tamil
te   tel =         =        Telugu
tg   tgk =         tgk-Cyrl Tajik
th   tha =         =        Thai
tl   tgl =         fil      Filipino
tr   tur =         =        Turkish
uk   ukr =         =        Ukrainian
umb  umb =         .        Umbundu
ur   urd =         =        Urdu
uz   uzb =         =        Uzbek
vi   vie =         =        Vietnamese
wo   wol =         =        Wolof
xh   xho =         =        Xhosa
yo   yor =         =        Yoruba
zh   zho zho_simpl zho-CN   Chinese
zh_hant zho zho_trad zho-TW Traditional Chinese
zu   zul =         =        Zulu
ba   bak .         =        Bashkir
bem  bem .         =        Bemba
bo   bod .         =        Tibetan
dv   div .         =        Divehi
dz   dzo .         =        Dzongkha
ee   ewe .         =        Ewe
en_gb eng .        eng-GB   British English
en_in eng .        eng-IN   Indian English
en_us eng .        eng-US   American English
es_mx spa .        spa-MX   Mexican Spanish
eu   eus .         =        Basque
fj   fij .         =        Fijian
fo   fao .         =        Faroese
fr_ca fra .        fra-CA   Canadian French
fuc  fuc .         =        Pulaar
hmn  hmn .         =        Hmong
kmr  kmr .         =        Northern Kurdish
mey  mey .         =        Hassaniyya Arabic
mg   mlg .         =        Malagasy
nd   nde .         =        North Ndebele
nn   nno .         =        Norwegian Nynorsk
prs  prs .         =        Dari
pt_br por .        por-BR   Brazilian Portuguese
rw   kin .         =        Kinyarwanda
shi  shi .         =        Shilha
si   sin .         =        Sinhala
sm   smo .         =        Samoan
sq   sqi .         =        Albanian
sr_latn srp .      srp-Latn Serbian in Latin script
ss   ssw .         =        Swati
ti   tir .         =        Tigrinya
tk   tuk .         =        Turkmen
tn   tsn .         =        Tswana
to   ton .         =        Tongan
tt   tat .         =        Tatar
ty   tah .         =        Tahitian
ug   uig .         =        Uighur
ve   ven .         =        Venda
yue  yue .         =        Cantonese
ace  ace .         .        Acehnese
acm  acm .         .        Mesopotamian Arabic
acq  acq .         .        Ta'izzi-Adeni Arabic
aeb  aeb .         .        Tunisian Arabic
ajp  ajp .         .        South Levantine Arabic
ak   aka .         .        Akan
apc  apc .         .        North Levantine Arabic
ars  ars .         .        Najdi Arabic
ary  ary .         .        Moroccan Arabic
arz  arz .         .        Egyptian Arabic
awa  awa .         .        Awadhi
ay   ayr .         .        Central Aymara
azb  azb .         .        South Azerbaijani
ban  ban .         .        Balinese
bho  bho .         .        Bhojpuri
bjn  bjn .         .        Banjar
bm   bam .         .        Bambara
bug  bug .         .        Buginese
cjk  cjk .         .        Chokwe
crh  crh .         .        Crimean Tatar
dik  dik .         .        Southwestern Dinka
dyu  dyu .         .        Dyula
eo   epo .         .        Esperanto
fon  fon .         .        Fon
fur  fur .         .        Friulian
gd   gla .         .        Scottish Gaelic
gn   grn .         .        Guarani
hne  hne .         .        Chhattisgarhi
ht   hat .         .        Haitian Creole
ilo  ilo .         .        Ilocano
kab  kab .         .        Kabyle
kac  kac .         .        Jingpho
kbp  kbp .         .        Kabiyè
kg   kon .         .        Kikongo
ki   kik .         .        Kikuyu
kmb  kmb .         .        Kimbundu
knc  knc .         .        Central Kanuri
ks   kas .         .        Kashmiri
li   lim .         .        Limburgish
lij  lij .         .        Ligurian
lmo  lmo .         .        Lombard
ltg  ltg .         .        Latgalian
lua  lua .         .        Luba-Kasai
lus  lus .         .        Mizo
mag  mag .         .        Magahi
mai  mai .         .        Maithili
min  min .         .        Minangkabau
mni  mni .         .        Meitei
mos  mos .         .        Mossi
nus  nus .         .        Nuer
pag  pag .         .        Pangasinan
pap  pap .         .        Papiamento
quy  quy .         .        Ayacucho Quechua
rn   run .         .        Rundi
sa   san .         .        Sanskrit
sat  sat .         .        Santali
sc   srd .         .        Sardinian
scn  scn .         .        Sicilian
sg   sag .         .        Sango
shn  shn .         .        Shan
st   sot .         .        Southern Sotho
su   sun .         .        Sundanese
szl  szl .         .        Silesian
taq  taq .         .        Tamasheq
tpi  tpi .         .        Tok Pisin
ts   tso .         .        Tsonga
tum  tum .         .        Tumbuka
tw   twi .         .        Twi
tzm  tzm .         .        Central Atlas Tamazight
vec  vec .         .        Venetian
war  war .         .        Waray
yi   ydd .         .        Eastern Yiddish
"""
#: Other codes that files and users write.
ALIASES = {"nb": "no", "nor": "no", "fil": "tl", "aze": "az", "zh_hans": "zh", "zh_cn": "zh"}
ALIASES |= {"zh_tw": "zh_hant", "sr_cyrl": "sr", "ori": "or", "zsm": "ms", "pes": "fa"}
ALIASES |= {"zho_hans": "zh", "cmn": "zh", "zho_hant": "zh_hant", "zh_hk": "zh_hant"}
ALIASES |= {"cmn_hant": "zh_hant", "als": "sq", "ekk": "et", "fuv": "ff", "gaz": "om"}
ALIASES |= {"khk": "mn", "lvs": "lv", "pbt": "ps", "plt": "mg", "uzn": "uz"}  # Flores-200, Flores+
ALIASES |= {"yid": "yi", "aym": "ay"}

#: The script that is meant where a language's text comes in two (``ace_Arab``, ``ace_Latn``).
SCRIPTS = {"ace": "latn", "bjn": "latn", "knc": "latn", "ks": "arab", "min": "latn", "taq": "latn"}

#: Codes of countries, written where the language's is meant: hinted at, not taken.
COUNTRIES = {"cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "jp": "ja", "kr": "ko", "se": "sv"}
COUNTRIES |= {"ua": "uk", "vn": "vi", "br": "pt_br", "ch": "zh"}
