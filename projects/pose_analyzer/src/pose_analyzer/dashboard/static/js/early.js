// Runs before the first paint, so that a chosen theme does not flash the other one first.
try {
  const value = JSON.parse(localStorage.getItem("pose-analyzer.theme") ?? '"auto"');
  if (value === "dark" || value === "light") document.documentElement.dataset.theme = value;
} catch {
  // A browser that keeps nothing shows the system's theme.
}
