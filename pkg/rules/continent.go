package rules

import "strings"

// Where countries are, by ISO 3166-1 and the few codes that databases use beside it
// (AC, TA, XK), as the table countryInfo.txt of GeoNames (geonames.org, CC BY 4.0)
// has it: Russia and Cyprus are in Europe, Turkey and the Caucasus in Asia.
var continents = continentsOf(map[string]string{
	"AF": "AC AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR " +
		"MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TA TD TG TN TZ UG YT ZA ZM ZW",
	"AN": "AQ BV GS HM TF",
	"AS": "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO " +
		"MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
	"EU": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV " +
		"MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
	"NA": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR " +
		"SV SX TC TT US VC VG VI",
	"OC": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
	"SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
})

func continentsOf(members map[string]string) map[string]string {
	out := map[string]string{}
	for continent, countries := range members {
		for country := range strings.FieldsSeq(countries) {
			out[country] = continent
		}
	}
	return out
}

// Continents are the codes of all continents.
var Continents = []string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}

// KnownCountry says whether code is a country's in ISO 3166-1.
func KnownCountry(code string) bool { return continents[code] != "" }
