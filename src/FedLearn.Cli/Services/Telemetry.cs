using System.Runtime.CompilerServices;
using FedLearn.Cli.Serving;
using FedLearn.Diagnostics;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace FedLearn.Cli.Services;

/// <summary>Sends metrics and traces to a collector over OTLP, when the environment says where. The variables are OpenTelemetry's own.</summary>
/// <remarks>What is sent is what <see cref="FedLearnTelemetry"/>, <see cref="ServingMetrics"/> and <see cref="CoordinatorMetrics"/> list: names of jobs and parties, kinds, counts, times and ids of errors.
/// Without the variable nothing of OpenTelemetry is loaded.</remarks>
internal static class Telemetry
{
    /// <summary>Where the collector is; absent or empty: nothing is sent.</summary>
    public const string EndpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT";

    private const string ProtocolVariable = "OTEL_EXPORTER_OTLP_PROTOCOL";

    // worker is a party's process of train and predict.
    private static readonly string[] Verbs = ["party", "train", "serve", "coordinator", "worker"];

    /// <summary>Begins to send, where the environment asks for it.</summary>
    /// <param name="verb">The verb that runs.</param>
    /// <returns>Dispose it at the end of the verb: what is left is then sent. Null: nothing is sent.</returns>
    /// <exception cref="ConfigurationException">FL2557: a variable has a value that cannot be used.</exception>
    public static IDisposable? Start(string verb) =>
        Verbs.Contains(verb) && Environment.GetEnvironmentVariable(EndpointVariable) is { Length: > 0 } endpoint ? Begin(endpoint) : null;

    // A method of its own, so that the assemblies are loaded for those alone who want them.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Sending Begin(string endpoint)
    {
        if (!Uri.TryCreate(endpoint, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https"))
            throw new ConfigurationException(ServiceErrors.BadTelemetry, $"environment, {EndpointVariable}", "the value is no http or https address.", "Write the collector's address, such as http://127.0.0.1:4318.");
        if (Environment.GetEnvironmentVariable(ProtocolVariable) is { Length: > 0 } and not ("grpc" or "http/protobuf"))
            throw new ConfigurationException(ServiceErrors.BadTelemetry, $"environment, {ProtocolVariable}", "there is no such protocol here.", "Write grpc, which is the default, or http/protobuf.");
        // Detectors that come later win: the environment may name the service otherwise.
        ResourceBuilder resource = ResourceBuilder.CreateEmpty().AddTelemetrySdk()
            .AddService("fedlearn", serviceVersion: typeof(Telemetry).Assembly.GetName().Version?.ToString(3)).AddEnvironmentVariableDetector();
        return new Sending(
            Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource).AddSource(FedLearnTelemetry.Name).AddOtlpExporter().Build(),
            Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource).AddMeter(FedLearnTelemetry.Name, ServingMetrics.MeterName, CoordinatorMetrics.MeterName).AddOtlpExporter().Build());
    }

    private sealed class Sending(TracerProvider traces, MeterProvider metrics) : IDisposable
    {
        // The end of a provider sends what it still has, within five seconds.
        public void Dispose()
        {
            traces.Dispose();
            metrics.Dispose();
        }
    }
}
