// The page in English and Chinese. Elements carry data-i18n (text), or data-i18n-ATTRIBUTE.

const STRINGS = {
  en: {
    title: "sovits-live",
    tagline: "Type. It speaks while you type.",
    text: "Text",
    placeholder: "Type or paste what to say…",
    voice: "Voice",
    style: "Style",
    language: "Language",
    auto: "Detect",
    speed: "Speed",
    typing: "Type it like an LLM",
    tokens: "tokens/s",
    speak: "Speak",
    stop: "Stop",
    sample: "Example",
    stage: "What is spoken",
    waveform: "Waveform: played and waiting",
    firstPacket: "first packet",
    firstSound: "first sound",
    rtf: "real-time factor",
    lead: "waiting to play",
    underruns: "dropouts",
    stopped: "silent after stop",
    bitrate: "bit rate",
    addVoice: "Add a voice",
    addVoiceHint: "Drop a recording of 3 to 10 seconds here, or choose one. One speaker, no music.",
    chooseFile: "Choose a file",
    voiceName: "Name",
    transcript: "What is said in it, word for word",
    consent: "Who agreed that their voice is used so, and when",
    upload: "Add",
    uploading: "Adding…",
    uploaded: "Added: {name}",
    uploadFailed: "Not added: {why}",
    notAudio: "That is not an audio file.",
    settings: "Connection",
    key: "API key",
    keyHint: "Kept in this tab only.",
    codec: "Audio on the wire",
    theme: "Light or dark",
    switch: "中文",
    switchHint: "切换到中文",
    shortcuts: "Ctrl+Enter speaks, Esc stops.",
    connecting: "connecting…",
    connected: "ready",
    speaking: "speaking",
    offline: "no connection",
    needsKey: "This server wants an API key.",
    failed: "Failed: {why}",
    empty: "There is nothing to say yet.",
    silentPage: "The browser keeps the page silent: press Speak once more.",
  },
  zh: {
    title: "sovits-live",
    tagline: "边写边说，字未落，声已起。",
    text: "文本",
    placeholder: "输入或粘贴要说的话……",
    voice: "音色",
    style: "风格",
    language: "语言",
    auto: "自动",
    speed: "语速",
    typing: "像大模型一样逐字输入",
    tokens: "词元/秒",
    speak: "朗读",
    stop: "停止",
    sample: "换一句",
    stage: "朗读内容",
    waveform: "波形：已播放与待播放",
    firstPacket: "首包",
    firstSound: "首次出声",
    rtf: "实时率",
    lead: "待播放",
    underruns: "卡顿次数",
    stopped: "停止用时",
    bitrate: "码率",
    addVoice: "添加音色",
    addVoiceHint: "把 3 到 10 秒的录音拖到这里，或选择文件。只有一个人说话，没有音乐。",
    chooseFile: "选择文件",
    voiceName: "名称",
    transcript: "录音里逐字说了什么",
    consent: "谁、在什么时候同意了这样使用自己的声音",
    upload: "添加",
    uploading: "正在添加……",
    uploaded: "已添加：{name}",
    uploadFailed: "未能添加：{why}",
    notAudio: "这不是音频文件。",
    settings: "连接",
    key: "API 密钥",
    keyHint: "只保存在本标签页。",
    codec: "传输编码",
    theme: "浅色或深色",
    switch: "English",
    switchHint: "Switch to English",
    shortcuts: "Ctrl+Enter 朗读，Esc 停止。",
    connecting: "连接中……",
    connected: "就绪",
    speaking: "朗读中",
    offline: "没有连接",
    needsKey: "此服务器需要 API 密钥。",
    failed: "出错：{why}",
    empty: "还没有要说的话。",
    silentPage: "浏览器禁止了声音：请再按一次“朗读”。",
  },
};

export const SAMPLES = {
  en: [
    "Hello! Thanks for calling. I found your order: it left the warehouse this morning, and should be with you on Friday.",
    "The lighthouse keeper counted seven ships before breakfast. By noon the fog had come, and he counted only bells.",
    "Good evening, everyone, and welcome back to the stream. Tonight we finally open the door at the end of the corridor.",
  ],
  zh: [
    "大家好，欢迎来到直播间！今天的主角是一盏小台灯，只要十九块九。喜欢的朋友，点一下关注。",
    "您好，这里是客服中心。您的订单今天早上已经发出，预计星期五送到。请问还有什么可以帮您？",
    "海边的灯塔亮了整整一夜。守塔人泡了一壶茶，听着风声，慢慢写完了这一页日记。",
  ],
};

let current = "en";

/** The language in use: "en" or "zh". */
export function language() {
  return current;
}

/** Return the string of that name, with {placeholders} filled. */
export function t(name, values = {}) {
  const string = STRINGS[current][name] ?? name;
  return string.replaceAll(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Put the whole page into a language. */
export function setLanguage(code) {
  current = code === "zh" ? "zh" : "en";
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("*")) {
    for (const [key, name] of Object.entries(element.dataset)) {
      if (key === "i18n") element.textContent = t(name);
      else if (key.startsWith("i18n")) {
        element.setAttribute(key.slice(4).replaceAll(/[A-Z]/g, toAttribute).replace(/^-/, ""), t(name));
      }
    }
  }
}

function toAttribute(capital) {
  return `-${capital.toLowerCase()}`;
}

/** Return the language to start in. */
export function preferredLanguage() {
  const stored = localStorage.getItem("sovits.language");
  return stored ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
}
