"""The table of languages, and how pairs are read."""

from __future__ import annotations

from typing import Any

import pytest

from mt_lottery.errors import ConfigError
from mt_lottery.languages import (
    LANGUAGES,
    Language,
    find_language,
    get_language,
    named_among,
    names,
    nearest_code,
    of_code,
    parse_pair,
    written_as,
)

# The 127 rows of NTREX's LANGUAGES.tsv; the English source is `eng`.
NTREX_CODES = """
afr amh arb aze-Latn bak bel bem ben bod bos bul cat ces ckb-Arab cym dan deu div
dzo ell eng-GB eng-IN eng-US est eus ewe fao fas fij fil fin fra fra-CA fuc gle glg guj hau heb hin
hmn hrv hun hye ibo ind isl ita jpn kan kat kaz khm kin kir kmr kor lao lav lit ltz mal mar mey mkd
mlg mlt mon mri msa mya nde nep nld nno nob nso nya orm pan pol por por-BR prs pus ron rus shi sin
slk slv smo sna-Latn snd-Arab som spa spa-MX sqi srp-Cyrl srp-Latn ssw swa swe tah tam tat tel
tgk-Cyrl tha tir ton tsn tuk tur uig ukr urd uzb ven vie wol xho yor yue zho-CN zho-TW
zul
"""


def test_all_languages_of_both_corpora_are_known() -> None:
    flores = [language.flores for language in LANGUAGES if language.flores]
    ntrex = [language.ntrex for language in LANGUAGES if language.ntrex]
    assert len(flores) == len(set(flores)) == 102  # English and 101 others
    assert sorted(ntrex) == sorted([*NTREX_CODES.split(), "eng"])


# The codes of Flores-200 (NLLB Team 2022, table 1).
FLORES_200 = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn amh_Ethi apc_Arab arb_Arab
ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn
ban_Latn bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl
cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn
dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn pes_Arab fij_Latn fin_Latn
fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn hau_Latn
heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn
jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor knc_Arab knc_Latn
kaz_Cyrl kbp_Latn kea_Latn khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kon_Latn kor_Hang kmr_Latn
lao_Laoo lvs_Latn lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn
luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn mkd_Cyrl plt_Latn mlt_Latn mni_Beng
khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nso_Latn nus_Latn
nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn por_Latn prs_Arab pbt_Arab
quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Beng scn_Latn shn_Mymr sin_Sinh slk_Latn
slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn als_Latn srd_Latn srp_Cyrl ssw_Latn
sun_Latn swe_Latn swh_Latn szl_Latn tam_Taml tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi
taq_Latn taq_Tfng tpi_Latn tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab
ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn
yue_Hant zho_Hans zho_Hant zul_Latn
"""


@pytest.mark.parametrize("code", FLORES_200.split())
def test_every_language_of_flores_200_is_known_and_found(code: str) -> None:
    language = find_language(code)
    assert language is not None
    # of a language in two scripts the one that it is mostly written in
    other = {"ace_Arab", "bjn_Arab", "knc_Arab", "kas_Deva", "taq_Tfng"}
    assert (named_among(language, FLORES_200.split()) == code) is (code not in other)


@pytest.mark.parametrize("code", ["ace_Arab", "kas_Deva", "taq-Tfng"])
def test_a_script_whose_files_are_not_read_is_refused(code: str) -> None:
    with pytest.raises(ConfigError, match="Unknown language"):
        get_language(code)
    own = {"ace_Arab": "ace_Latn", "kas_Deva": "kas_arab", "taq-Tfng": "taq_latn"}[code]
    assert get_language(own).code == find_language(code).code  # type: ignore[union-attr]


def test_codes_are_unique_and_find_their_language() -> None:
    assert len({language.code for language in LANGUAGES}) == len(LANGUAGES)
    for language in LANGUAGES:
        for code in (language.code, language.flores, language.ntrex):
            assert not code or get_language(code) is language
        assert get_language(language.iso3).iso3 == language.iso3


def test_romanian() -> None:
    assert get_language("ro") == Language("ro", "ron", "Romanian", "ron", "ron")
    assert str(get_language("RON")) == "ro"


@pytest.mark.parametrize("code", ["no", "nb", "nob", "nor", "NO", " nb "])
def test_norwegian_is_bokmaal(code: str) -> None:
    assert get_language(code) == Language("no", "nob", "Norwegian", "nob", "nob")


@pytest.mark.parametrize(
    ("code", "flores", "ntrex"),
    [
        ("zh", "zho_simpl", "zho-CN"),
        ("zho", "zho_simpl", "zho-CN"),
        ("zho-TW", "zho_trad", "zho-TW"),
        ("zh-TW", "zho_trad", "zho-TW"),
        ("ar", "ara", "arb"),
        ("tl", "tgl", "fil"),
        ("sw", "swh", "swa"),
        ("ne", "npi", "nep"),
        ("pt-BR", "", "por-BR"),
        ("eu", "", "eus"),
        ("ast", "ast", ""),
    ],
)
def test_codes_that_differ(code: str, flores: str, ntrex: str) -> None:
    language = get_language(code)
    assert (language.flores, language.ntrex) == (flores, ntrex)


def test_pair() -> None:
    pair = parse_pair("en-ro")
    assert (pair.source.name, pair.target.name, str(pair)) == ("English", "Romanian", "en-ro")
    assert str(parse_pair(" EN-nob ")) == "en-no"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("en-pt-BR", "en-pt_br"),
        ("pt-BR-en", "pt_br-en"),
        ("en-pt_br", "en-pt_br"),
        ("fr-ca", "fr-ca"),
        ("fr-CA-pt-BR", "fr_ca-pt_br"),
    ],
)
def test_varieties(text: str, shown: str) -> None:
    pair = parse_pair(text)
    assert str(pair) == shown
    assert parse_pair(str(pair)) == pair


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("en-ron_Latn", "en-ro"),
        ("eng_Latn-ron_Latn", "en-ro"),
        ("eng-Latn-ron-Latn", "en-ro"),
        ("zho_Hans-cmn_Hant", "zh-zh_hant"),
        ("cmn_Hans-zho_Hant", "zh-zh_hant"),
        ("srp_Cyrl-srp_Latn", "sr-sr_latn"),
        ("yue_Hant-arb_Arab", "yue-ar"),
        ("nob_Latn-nno_Latn", "no-nn"),
        ("azj_Latn-uzn_Latn", "az-uz"),
    ],
)
def test_codes_with_a_script(text: str, shown: str) -> None:
    assert str(parse_pair(text)) == shown
    if "_" in text:
        sides = [side if "_" in side else get_language(side).iso3 for side in text.split("-")]
        assert [get_language(side) for side in sides] == [find_language(side) for side in sides]


def test_case_does_not_matter_in_a_script() -> None:
    assert str(parse_pair("ENG_latn-ron-LATN")) == "en-ro"


@pytest.mark.parametrize("text", ["en-xxx_Latn", "en-Latn", "Romanian_Latn-en"])
def test_scripts_that_say_nothing(text: str) -> None:
    with pytest.raises(ConfigError, match="Unknown language"):
        parse_pair(text)


@pytest.mark.parametrize("text", ["enro", "en", "", "en-", "-ro", "en--ro", "en_ro"])
def test_missing_dash(text: str) -> None:
    with pytest.raises(ConfigError, match="SOURCE-TARGET, as in en-ro"):
        parse_pair(text)


@pytest.mark.parametrize("text", ["en-en", "no-nb", "en-eng", "en-eng_Latn"])
def test_same_language_twice(text: str) -> None:
    with pytest.raises(ConfigError, match="the same language"):
        parse_pair(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("en-romanian", "Did you mean 'ro' (Romanian)?"),
        ("en-ronn", "Did you mean 'ron'?"),
        ("en-rumanian", "Did you mean 'romanian'?"),
        ("zho_simple-en", "Did you mean 'zho_simpl'?"),
        ("en-sp", "Did you mean 'es' (Spanish)?"),
        ("en-jp", "Did you mean 'ja' (Japanese)?"),
        ("en-ge", "Did you mean 'de' (German) or 'ka' (Georgian)?"),
        ("en-qx", "'qx'. Known: "),
    ],
)
def test_unknown_language(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pair(text)
    assert "Unknown language" in str(caught.value)
    assert hint in str(caught.value)
    assert "by their ISO 639 codes (ro, ron)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code", "iso3", "name"),
    [
        ("hsb", "hsb", "hsb", "Upper Sorbian"),
        ("HSB_Latn", "hsb", "hsb", "Upper Sorbian"),
        ("la", "la", "lat", "Latin"),
        ("lat", "la", "lat", "Latin"),
        ("grc", "grc", "grc", "Ancient Greek"),
        ("sme", "sme", "sme", "Northern Sami"),
    ],
)
def test_other_languages_are_known_by_iso_639(text: str, code: str, iso3: str, name: str) -> None:
    found = get_language(text)
    assert found == Language(code, iso3, name, flores="", ntrex="")
    assert parse_pair(f"en-{text}").target == found == of_code(code)
    assert names(text, found) and names(name, found) and not names("la", get_language("ro"))


@pytest.mark.parametrize(("text", "code"), [("rum", "ro"), ("ger", "de"), ("chi", "zh")])
def test_iso_639_2_codes_of_known_languages(text: str, code: str) -> None:
    assert get_language(text).code == code


@pytest.mark.parametrize(
    "code", ["und", "mul", "zxx", "scc", "se", "kr", "br", "ch", "qaa", "ace_Arab", "x"]
)
def test_codes_of_no_language(code: str) -> None:
    """Special and withdrawn ones; of the two-letter ones those that mean a country as likely."""
    with pytest.raises(ConfigError, match="Unknown language"):
        get_language(code)


def test_a_word_that_is_some_languages_code_names_none() -> None:
    """`src` is Logudorese Sardinian: a file's column of that name is not."""
    assert find_language("src") is None and find_language("gen") is None


@pytest.mark.parametrize("value", [False, True, "False", "en-False", "False-en", "true"])
def test_booleans_are_explained(value: Any) -> None:
    """YAML reads `no` as False; OmegaConf turns that into the text "False"."""
    with pytest.raises(ConfigError) as caught:
        parse_pair(value)
    if "-" in str(value) or isinstance(value, bool):
        assert "Quote the code" in str(caught.value)
    with pytest.raises(ConfigError, match="Quote the code"):
        get_language(False)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 3, ["en", "ro"]])
def test_other_types(value: Any) -> None:
    with pytest.raises(ConfigError, match="SOURCE-TARGET"):
        parse_pair(value)
    with pytest.raises(ConfigError, match="must be a code"):
        get_language(value)


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
def test_a_language_is_named_by_every_code_that_lang_accepts(language: Language) -> None:
    for code in written_as(language):
        for written in (code, code.upper(), code.replace("_", "-"), f" {code} "):
            assert names(written, language)
    assert names(language.name, language)
    others = [each for each in LANGUAGES if each.iso3 != language.iso3]
    assert not any(names(language.code, each) for each in others)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *(("pt-BR", "pt_br"), ("zh-TW", "zh_hant"), ("sr-Latn", "sr_latn"), ("zho_Hans", "zh")),
        *(("de-DE", "de"), ("ron_Latn", "ro"), ("Romanian", "ro"), ("srp_Latn", "sr_latn")),
        *(("NB", "no"), ("zh-HK", "zh_hant"), ("cmn", "zh"), ("es-ES", "es"), ("es-MX", "es_mx")),
    ],
)
def test_what_files_call_a_language(written: str, code: str) -> None:
    found = find_language(written)
    assert found is not None and found.code == code and names(written, found)


def test_the_likeliest_of_several_names() -> None:
    portuguese, brazilian = get_language("pt"), get_language("pt-BR")
    assert named_among(portuguese, ["en", "pt-BR", "pt"]) == "pt"
    assert named_among(brazilian, ["en", "pt-BR", "pt"]) == "pt-BR"
    assert named_among(portuguese, ["en", "pt-BR"]) is None
    assert named_among(get_language("no"), ["nn", "nb", "nob"]) == "nob"
    assert find_language("nothing") is None and find_language("") is None


@pytest.mark.parametrize(
    ("wanted", "there", "hint"),
    [
        ("de", ["en", "es"], ""),  # Spanish is near by its letters, but is not meant
        ("ro", ["en", "rom"], " Did you mean 'rom'?"),
        ("pt_br", ["en", "pt"], " Did you mean 'pt'?"),
    ],
)
def test_a_hint_is_not_another_language(wanted: str, there: list[str], hint: str) -> None:
    assert nearest_code(get_language(wanted), wanted, there) == hint
