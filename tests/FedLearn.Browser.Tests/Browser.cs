using System.Runtime.CompilerServices;
using Microsoft.Playwright;

namespace FedLearn.Browser.Tests;

/// <summary>One headless Chromium for all tests of a class. Tests skip, saying so, on a machine that has none.</summary>
public sealed class Browser : IAsyncLifetime
{
    private static readonly string[] Names = ["chromium", "chromium-browser", "google-chrome"];

    private IPlaywright? _playwright;
    private IBrowser? _browser;

    public async ValueTask InitializeAsync()
    {
        string? chromium = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .SelectMany(folder => Names.Select(name => Path.Combine(folder, name))).FirstOrDefault(File.Exists);
        if (chromium is null)
            return;
        _playwright = await Playwright.CreateAsync();
        // Without a user data folder of our own, a launch makes a fresh one and takes it away.
        _browser = await _playwright.Chromium.LaunchAsync(new()
        {
            ExecutablePath = chromium,
            Args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        });
    }

    /// <summary>Opens a page and waits until its scripts have run.</summary>
    /// <param name="html">The page.</param>
    /// <param name="width">Width of the window in CSS pixels.</param>
    /// <param name="dark">Whether the reader prefers dark pages.</param>
    /// <param name="scripts">Whether the browser runs scripts.</param>
    /// <param name="name">Name of the file; that of the test.</param>
    internal async Task<OpenPage> OpenAsync(string html, int width = 1280, bool dark = false, bool scripts = true, [CallerMemberName] string name = "")
    {
        if (_browser is null)
            Assert.Skip("Chromium is absent; eng/setup.sh test installs it.");
        string file = Path.Combine(Artifacts, name + ".html");
        await File.WriteAllTextAsync(file, html);
        IBrowserContext context = await _browser!.NewContextAsync(new()
        {
            ViewportSize = new() { Width = width, Height = 900 },
            ColorScheme = dark ? ColorScheme.Dark : ColorScheme.Light,
            JavaScriptEnabled = scripts,
            DeviceScaleFactor = 1,
        });
        return await OpenPage.AtAsync(context, file);
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
            await _browser.DisposeAsync();
        _playwright?.Dispose();
    }

    /// <summary>Where pages and screenshots are kept for people: build/test-artifacts of the checkout.</summary>
    internal static string Artifacts { get; } = Directory.CreateDirectory(Path.Combine(Root(), "build", "test-artifacts")).FullName;

    /// <summary>Root of the checkout.</summary>
    internal static string Root()
    {
        DirectoryInfo folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "FedLearn.sln")))
            folder = folder.Parent ?? throw new InvalidOperationException("The tests do not run inside a checkout.");
        return folder.FullName;
    }
}
