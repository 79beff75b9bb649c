using System.ComponentModel;
using System.Text.Json;
using FedLearn.Glm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;

namespace FedLearn.Cli.Serving;

/// <summary>The REST side of <c>fedlearn serve</c>. It logs nothing of a request, whose path holds an id; of an error that nobody expected the type and the stack.</summary>
internal sealed class RestHost : IAsyncDisposable
{
    /// <summary>How long requests in progress may take at the end, beyond their own limit.</summary>
    public static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(2);

    /// <summary>Largest body of a request: <see cref="GlmScoring.MostIds"/> ids of 250 bytes.</summary>
    private const int MostBodyBytes = 1 << 20;

    private readonly WebApplication _app;
    private readonly TimeSpan _drain;

    private RestHost(WebApplication app, Uri address, TimeSpan drain) => (_app, Address, _drain) = (app, address, drain);

    /// <summary>Where it answers, with the actual port.</summary>
    public Uri Address { get; }

    /// <summary>Starts answering.</summary>
    /// <param name="listen">Loopback address; port 0 lets the system choose.</param>
    /// <param name="scoring">Who scores.</param>
    /// <param name="metrics">Counts.</param>
    /// <param name="drain">How long the end waits for requests in progress.</param>
    /// <param name="log">Told of errors that nobody expected; never an id or a score.</param>
    /// <param name="cancellationToken">Stops starting.</param>
    /// <exception cref="Diagnostics.PeerException">FL4053: the address cannot be opened.</exception>
    public static async Task<RestHost> StartAsync(Uri listen, GlmScoringActive scoring, ServingMetrics metrics, TimeSpan drain, Action<string> log, CancellationToken cancellationToken)
    {
        WebApplicationBuilder builder = LocalWeb.Builder(listen, MostBodyBytes, drain);
        // A page in a browser of this machine must not read scores by renaming 127.0.0.1.
        builder.Services.AddHostFiltering(filter => (filter.AllowedHosts, filter.IncludeFailureMessage) = (["localhost", "127.0.0.1", "[::1]", listen.Host], false));
        builder.Services.AddOpenApi(Describe);
        WebApplication app = builder.Build();
        // What routing itself refuses has no body; a caller gets a problem document for it as for every other error.
        app.UseStatusCodePages(context => RefusalOf(context.HttpContext.Response.StatusCode).ExecuteAsync(context.HttpContext));
        app.UseHostFiltering();
        Map(app, scoring, metrics, log);
        app.MapOpenApi();
        return new RestHost(app, await LocalWeb.StartAsync(app, ServingErrors.CannotListen, $"serve.rest, {listen.Authority}", cancellationToken).ConfigureAwait(false), drain);
    }

    /// <summary>Takes no more requests and waits for those in progress.</summary>
    public async ValueTask DisposeAsync()
    {
        using (var timeUp = new CancellationTokenSource(_drain))
            await _app.StopAsync(timeUp.Token).ConfigureAwait(false);
        await _app.DisposeAsync().ConfigureAwait(false);
    }

    private static void Describe(OpenApiOptions options)
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo
            {
                Title = "FedLearn online prediction",
                Version = "v1",
                Description = "Predictions of a vertical federated model for single ids. Only requests that name this machine in the header Host are answered. Errors are problem documents (RFC 9457) whose errorId has a page under docs/errors.",
            };
            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            if (context.JsonTypeInfo.Type == typeof(ProblemDetails))
                schema.Properties!["errorId"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "FLnnnn; docs/errors has a page for each." };
            if (context.JsonTypeInfo.Type != typeof(RowNumbers))
                return Task.CompletedTask;
            schema.AnyOf =
            [
                new OpenApiSchema { Type = JsonSchemaType.Number | JsonSchemaType.Null },
                new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchema { Type = JsonSchemaType.Number | JsonSchemaType.Null } },
            ];
            return Task.CompletedTask;
        });
    }

    private static void Map(WebApplication app, GlmScoringActive scoring, ServingMetrics metrics, Action<string> log)
    {
        app.MapGet("/score/{id}", ([Description("Id of the row, as in the tables; white space at its ends does not matter. The columns of an id of several stand in their order with U+001F (%1F) between them.")] string id, CancellationToken stop) =>
                CountedAsync(metrics, log, async () =>
                {
                    GlmScoreAnswer answer = (await scoring.ScoreAsync([id], stop).ConfigureAwait(false))[0];
                    return (1, OutcomeOf([answer]), answer.Outcome == GlmScoreOutcome.Scored ? Results.Ok(ScoreReply.Of(answer)) : Problem(answer.Outcome));
                }))
            .WithName("scoreOne").WithTags("scores").WithSummary("Predicts for one id.")
            .WithDescription("Asks the passive parties for their scores and adds them up. Ids with a slash go to POST /score.")
            .Produces<ScoreReply>().ProducesProblem(StatusCodes.Status404NotFound).ProducesProblem(StatusCodes.Status503ServiceUnavailable);
        app.MapPost("/score", (HttpRequest request, CancellationToken stop) => CountedAsync(metrics, log, async () =>
            {
                if (await ReadAsync(request, stop).ConfigureAwait(false) is not { } ids)
                    return (0, RequestOutcome.BadRequest, Problem(StatusCodes.Status400BadRequest, ServingErrors.BadRequest, "The request cannot be understood.",
                        $"Send {{ \"ids\": [\"a\", \"b\"] }} with 1 to {GlmScoring.MostIds} ids, in at most {MostBodyBytes >> 20} MiB, as application/json."));
                IReadOnlyList<GlmScoreAnswer> answers = await scoring.ScoreAsync(ids, stop).ConfigureAwait(false);
                if (answers.FirstOrDefault(a => a.Outcome is GlmScoreOutcome.PartyAway or GlmScoreOutcome.PartyTooSlow) is { } failed)
                    return (ids.Count, RequestOutcome.Unavailable, Problem(failed.Outcome));
                return (ids.Count, OutcomeOf(answers), Results.Ok(new ScoresReply([.. answers.Where(a => a.Outcome == GlmScoreOutcome.Scored).Select(ScoreReply.Of)],
                    [.. answers.Where(a => a.Outcome != GlmScoreOutcome.Scored).Select(a => new MissingReply(a.Id, ErrorOf(a.Outcome).Id))])));
            }))
            .Accepts<ScoreRequest>("application/json")
            .WithName("scoreSeveral").WithTags("scores").WithSummary("Predicts for several ids.")
            .WithDescription("The columns of an id of several stand in their order with U+001F (in JSON \\u001f) between them. All ids cross to each passive party in one message. Ids that a party does not have are listed; a party that is away fails the whole request unless it has a fallback.")
            .Produces<ScoresReply>().ProducesProblem(StatusCodes.Status400BadRequest).ProducesProblem(StatusCodes.Status415UnsupportedMediaType).ProducesProblem(StatusCodes.Status503ServiceUnavailable);
        app.MapGet("/health/live", () => Results.Ok(new HealthReply("live", PartiesOf(scoring))))
            .WithName("live").WithTags("health").WithSummary("Says that the server runs.").Produces<HealthReply>();
        app.MapGet("/health/ready", () => scoring.IsReady
                ? Results.Ok(new HealthReply("ready", PartiesOf(scoring)))
                : Results.Json(new HealthReply("waiting", PartiesOf(scoring)), statusCode: StatusCodes.Status503ServiceUnavailable))
            .WithName("ready").WithTags("health").WithSummary("Says whether every passive party is connected or has a fallback.")
            .Produces<HealthReply>().Produces<HealthReply>(StatusCodes.Status503ServiceUnavailable);
        app.MapGet("/metrics", () => Results.Text(metrics.Text(), "text/plain; version=0.0.4; charset=utf-8"))
            .WithName("metrics").WithTags("health").WithSummary("Counts and times in Prometheus' text format.").Produces<string>(StatusCodes.Status200OK, "text/plain");
    }

    /// <summary>Runs a request for scores, and counts how it ended.</summary>
    internal static async Task<IResult> CountedAsync(ServingMetrics metrics, Action<string> log, Func<Task<(int Ids, RequestOutcome Outcome, IResult Result)>> request)
    {
        long start = metrics.Start();
        (int ids, RequestOutcome outcome, IResult result) = (0, RequestOutcome.Failed, Results.Empty);
        try
        {
            (ids, outcome, result) = await request().ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            outcome = RequestOutcome.Cancelled; // the caller left
        }
#pragma warning disable CA1031 // the last resort of a server: no request may end the process, and the message of an unexpected error may quote data
        catch (Exception e)
#pragma warning restore CA1031
        {
            log($"a request failed with {e.GetType().Name}, which the server did not expect ({ServingErrors.RequestFailed}); please report it with the lines below\n{e.StackTrace}");
            result = Problem(StatusCodes.Status500InternalServerError, ServingErrors.RequestFailed, "The request failed inside the server.", "Please report it with what the server logged.");
        }

        metrics.Record(start, outcome, ids);
        return result;
    }

    /// <summary>The ids of a request; null when it is not as it has to be.</summary>
    internal static async Task<IReadOnlyList<string>?> ReadAsync(HttpRequest request, CancellationToken stop)
    {
        if (!request.HasJsonContentType())
            return null;
        try
        {
            ScoreRequest? body = await JsonSerializer.DeserializeAsync<ScoreRequest>(request.Body, JsonSerializerOptions.Web, stop).ConfigureAwait(false);
            return body?.Ids is { Count: > 0 and <= GlmScoring.MostIds } ids && ids.All(id => id is not null) ? ids : null;
        }
        catch (Exception e) when (e is JsonException or Microsoft.AspNetCore.Http.BadHttpRequestException)
        {
            return null;
        }
    }

    private static RequestOutcome OutcomeOf(IReadOnlyList<GlmScoreAnswer> answers)
    {
        if (answers.Any(a => a.Outcome is GlmScoreOutcome.PartyAway or GlmScoreOutcome.PartyTooSlow))
            return RequestOutcome.Unavailable;
        if (answers.All(a => a.Outcome != GlmScoreOutcome.Scored))
            return RequestOutcome.UnknownId;
        return answers.Any(a => a.Degraded.Count > 0) ? RequestOutcome.Degraded : RequestOutcome.Ok;
    }

    private static (int Status, string Id, string Title, string Detail) ErrorOf(GlmScoreOutcome outcome) => outcome switch
    {
        GlmScoreOutcome.UnknownId => (StatusCodes.Status404NotFound, GlmServingErrors.UnknownId, "There is no such id.", "The active party's table has no row of that id."),
        GlmScoreOutcome.NotCommon => (StatusCodes.Status404NotFound, GlmServingErrors.NotCommon, "Not every party has that id.", "Only rows that all parties have can be predicted."),
        GlmScoreOutcome.PartyAway => (StatusCodes.Status503ServiceUnavailable, GlmServingErrors.PartyAway, "A passive party is not connected.", "Try again later, or declare serve.fallback for it."),
        _ => (StatusCodes.Status503ServiceUnavailable, GlmServingErrors.PartyTooSlow, "A passive party did not answer in time.", "Try again later, raise serve.timeoutMilliseconds, or declare serve.fallback for it."),
    };

    private static IResult Problem(GlmScoreOutcome outcome)
    {
        (int status, string id, string title, string detail) = ErrorOf(outcome);
        return Problem(status, id, title, detail);
    }

    private static IResult Problem(int status, string id, string title, string detail) =>
        Results.Problem(detail, statusCode: status, title: title, type: $"docs/errors/{id}.md", extensions: new Dictionary<string, object?> { ["errorId"] = id });

    private static IResult RefusalOf(int status) => status switch
    {
        StatusCodes.Status404NotFound => Problem(status, ServingErrors.BadRequest, "There is no such address.", "GET /openapi/v1.json lists them."),
        StatusCodes.Status405MethodNotAllowed => Problem(status, ServingErrors.BadRequest, "The address does not take that method.", "GET /openapi/v1.json lists addresses and their methods."),
        StatusCodes.Status415UnsupportedMediaType => Problem(status, ServingErrors.BadRequest, "The body is no JSON.", "Send it with the header Content-Type: application/json; curl does with -H 'Content-Type: application/json'."),
        _ => Problem(status, ServingErrors.BadRequest, "The request cannot be understood.", "GET /openapi/v1.json describes requests; the header Host has to name this machine, such as localhost."),
    };

    private static IReadOnlyList<HealthReply.PartyState> PartiesOf(GlmScoringActive scoring) =>
        [.. scoring.Parties.Select(p => new HealthReply.PartyState(p.Name, p.Connected, p.HasFallback))];
}
