package integration

// What a test must find on the pages, and all that it knows about them: what
// each control is to a screen reader, and how the states read in English.

// control is something to be pressed or looked at, by its role and a pattern
// of its name, as a screen reader says them.
type control struct{ role, name string }

// The shop of the quickstart.
var (
	addToCart     = control{"button", `^Add .* to the cart$`}
	theCart       = control{"link", `^Cart`}
	checkOut      = control{"button", `^Check out$`}
	openSimulator = control{"link", `simulator`}
)

const (
	saysOrderPaid    = `Paid\. Terima kasih`
	saysOrderWaiting = `Waiting for your payment`
)

// The simulated gateway. The newest payment stands first, and one that has
// ended has no buttons.
var simulatorPays = control{"button", `^Pay$`}

// The payment page.
var (
	theCode       = control{"image", `QR code`}
	backToShop    = control{"link", `^Back to the shop$`}
	wantsToCancel = control{"DisclosureTriangle", `^Cancel this payment$`}
	cancelPayment = control{"button", `^Yes, cancel it$`}
	stayHere      = control{"button", `^Stay on this page$`}
	checkNow      = control{"button", `^I have paid`}
)

const (
	saysPreparing  = `Preparing your payment|The payment provider is not answering` // the latter after half a minute
	saysWaiting    = `Waiting for your payment`
	saysProcessing = `being processed`
	saysCancelling = `Cancelling the payment`
	saysPaid       = `Paid – thank you`
	saysFailed     = `was not completed`
	saysNotStarted = `could not be started`
	saysCancelled  = `was cancelled`
	saysExpired    = `time to pay is over`
)
