// Asks the visitor for the token of the service, in the page's dialog.

import { onTokenNeeded } from "./api.js";
import { byId, setText, showDialog } from "./dom.js";

/** From now on, whoever needs the token asks in `#token-dialog` with its `#token-text` and `#token-input`. */
export function askInDialog() {
  onTokenNeeded(async (wasWrong) => {
    setText(byId("token-text"), wasWrong ? "That token is not the right one. Try again." : "This service asks for a token. Whoever runs it can tell you.");
    byId("token-input").value = "";
    const answer = await showDialog(byId("token-dialog"));
    const given = byId("token-input").value.trim();
    byId("token-input").value = "";
    return answer === "go" && given ? given : null;
  });
}

/** Let the cancelling buttons of all dialogs close theirs without asking for what is missing in them. */
export function letDialogsBeCancelled() {
  for (const button of document.querySelectorAll("dialog button[value=cancel]")) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      button.closest("dialog").close("cancel");
    });
  }
}
