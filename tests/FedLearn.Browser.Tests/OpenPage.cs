using System.Collections.Concurrent;
using Microsoft.Playwright;

namespace FedLearn.Browser.Tests;

/// <summary>A page that is open, and what it complained about or asked for.</summary>
internal sealed class OpenPage : IAsyncDisposable
{
    private readonly ConcurrentQueue<string> _complaints = [];
    private readonly string _file;

    private OpenPage(IPage page, string file)
    {
        (Page, _file) = (page, file);
        page.Console += (_, message) => Note(message.Type is "error" or "warning", $"console {message.Type}: {message.Text}");
        page.PageError += (_, error) => Note(true, $"page error: {error}");
        page.Request += (_, request) => Note(request.Url != new Uri(file).AbsoluteUri, $"request: {request.Url}");
    }

    public IPage Page { get; }

    /// <summary>Errors and warnings of the page, and every request but the one for the page itself.</summary>
    public IReadOnlyCollection<string> Complaints => _complaints;

    public static async Task<OpenPage> AtAsync(IBrowserContext context, string file)
    {
        // Whatever is not the file itself gets no answer, so that a page that needs it fails here as it does on a reader's train.
        await context.RouteAsync("**/*", route => route.Request.Url == new Uri(file).AbsoluteUri ? route.ContinueAsync() : route.AbortAsync());
        var open = new OpenPage(await context.NewPageAsync(), file);
        await open.Page.GotoAsync(new Uri(file).AbsoluteUri, new() { WaitUntil = WaitUntilState.Load });
        return open;
    }

    /// <summary>The charts, in the order of the page.</summary>
    public async Task<string[]> ChartsAsync() => await Page.EvaluateAsync<string[]>("() => [...document.querySelectorAll('figure[data-chart]')].map(f => f.dataset.chart)");

    /// <summary>Charts that show nothing: fewer than a hundred pixels of any line, bar or mark beside axes and text.</summary>
    public async Task<string[]> BlankAsync() => await Page.EvaluateAsync<string[]>("""
        () => {
            let bare = false;
            Chart.register({ id: 'bare', beforeDatasetsDraw: () => !bare });
            return [...document.querySelectorAll('figure[data-chart]')].filter(f => {
                const canvas = f.querySelector('canvas'), chart = Chart.getChart(canvas);
                if (!chart || canvas.offsetHeight < 100 || canvas.offsetWidth < 100)
                    return true;
                // The same chart without its data: what differs are the data.
                const pixels = () => new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
                const full = pixels();
                bare = true;
                chart.update('none');
                const without = pixels();
                bare = false;
                chart.update('none');
                return full.length !== without.length || full.reduce((count, pixel, i) => count + (pixel === without[i] ? 0 : 1), 0) < 100;
            }).map(f => f.dataset.chart);
        }
        """);

    /// <summary>What a reader sees, first to last.</summary>
    public Task<string> TextAsync() => Page.Locator("body").InnerTextAsync();

    /// <summary>Keeps a picture of the whole page for people.</summary>
    public Task KeepAsync() => Page.ScreenshotAsync(new() { Path = Path.ChangeExtension(_file, ".png"), FullPage = true });

    public async ValueTask DisposeAsync() => await Page.Context.DisposeAsync();

    private void Note(bool isComplaint, string text)
    {
        if (isComplaint)
            _complaints.Enqueue(text);
    }
}
