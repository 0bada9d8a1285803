// A page that is opened from the disk may start no worker: the search's runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.worker = this
      this.frame.srcdoc =
        `<script>self.postMessage = data =>` +
        ` frameElement.worker.dispatchEvent(new parent.MessageEvent("message", { data }))` +
        `</` + `script><script src="${url}"></` + `script>`
      this.ready = new Promise(loaded => (this.frame.onload = loaded))
      document.body.append(this.frame)
    }
    postMessage(data) {
      this.ready.then(() => {
        const inside = this.frame.contentWindow
        inside.dispatchEvent(new inside.MessageEvent("message", { data }))
      })
    }
  }
}
