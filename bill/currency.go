package bill

import "strings"

// Currency is an ISO 4217 alphabetic code in upper case.
type Currency string

// twoDecimals, and the rows below it, are ISO 4217's active codes by their
// number of decimals (minor unit), as of amendment 177. Metals and test codes,
// which have none, are left out. IDR has two: libraries
// disagree, but the standard and the gateway's own example ("1.1" IDR) say so.
const (
	noDecimals    = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
	threeDecimals = "BHD IQD JOD KWD LYD OMR TND"
	fourDecimals  = "CLF UYW"
	twoDecimals   = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD " +
		"CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD " +
		"HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK " +
		"MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB " +
		"SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN " +
		"UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)

var decimalsOf = func() map[Currency]int {
	table := make(map[Currency]int)
	for decimals, codes := range map[int]string{0: noDecimals, 2: twoDecimals, 3: threeDecimals, 4: fourDecimals} {
		for code := range strings.FieldsSeq(codes) {
			table[Currency(code)] = decimals
		}
	}
	return table
}()

// Decimals returns ISO 4217's number of decimals of c, and false for a code
// that is not in its list.
func (c Currency) Decimals() (int, bool) {
	decimals, ok := decimalsOf[c]
	return decimals, ok
}
