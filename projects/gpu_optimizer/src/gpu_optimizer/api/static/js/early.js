// Runs before the first paint, so that a chosen theme does not flash the other one first.
try {
  const value = localStorage.getItem("gpu-optimizer.theme");
  if (value === "dark" || value === "light") document.documentElement.dataset.theme = value;
} catch {
  // A browser that keeps nothing shows the system's theme.
}
