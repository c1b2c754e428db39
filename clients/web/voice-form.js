// The form that adds a voice: drop a recording, say what is said in it.

import { t } from "./i18n.js";
import { addVoice, canAddVoices } from "./voices.js";

/** Return a voice id that comes close to the name of a file: a-z, 0-9, _ and -. */
function suggestedName(file) {
  const stem = file.toLowerCase().replace(/\.[^.]*$/, "");
  return stem.replaceAll(/[^a-z0-9_-]+/g, "-").replace(/^[_-]+/, "").slice(0, 64);
}

/** Show the form if the server takes voices; `onAdded` gets the id of a new one. */
export async function offerVoiceForm({ elements, token, onAdded }) {
  const { section, form, drop, file, fileName, name, language, transcript, consent, status } = elements;
  section.hidden = !(await canAddVoices(token()));
  if (section.hidden) return;

  const take = (files) => {
    const [chosen] = files;
    if (!chosen) return;
    if (chosen.type && !chosen.type.startsWith("audio/")) {
      status.textContent = t("notAudio");
      return;
    }
    const transfer = new DataTransfer();
    transfer.items.add(chosen);
    file.files = transfer.files;
    fileName.textContent = chosen.name;
    status.textContent = "";
    name.value ||= suggestedName(chosen.name);
    section.open = true;
    (name.value ? transcript : name).focus();
  };
  file.addEventListener("change", () => take(file.files));

  // Anywhere on the page: a file that misses the target must not replace the page.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    section.open = true;
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    status.textContent = t("uploading");
    try {
      const voice = {
        file: file.files[0],
        name: name.value,
        language: language.value,
        transcript: transcript.value,
        consent: consent.value,
      };
      const added = await addVoice(token(), voice);
      await onAdded(voice.name);
      status.textContent = [t("uploaded", voice), ...(added.warnings ?? [])].join(" ");
      form.reset();
      fileName.textContent = t("chooseFile");
    } catch (error) {
      status.textContent = t("uploadFailed", { why: error.message });
    } finally {
      button.disabled = false;
    }
  });
}
