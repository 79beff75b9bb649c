using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace FedLearn.Transport.Grpc;

/// <summary>FedLearn in an application's service collection.</summary>
public static class FedLearnServices
{
    /// <summary>Adds <see cref="FedLearnSessions"/>, with options from configuration that are checked when the application starts (FL2150). A key that no
    /// option has is an error.</summary>
    /// <param name="services">The application's services. A <see cref="TimeProvider"/> and logging among them are used; else the system's clock.</param>
    /// <param name="configuration">The section that holds the options.</param>
    /// <returns>The same services.</returns>
    public static IServiceCollection AddFedLearn(this IServiceCollection services, IConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        AddSessions(services).Configure(_ => FedLearnOptionsCheck.RefuseFormerKeys(configuration)).Bind(configuration, binder => binder.ErrorOnUnknownConfiguration = true);
        return services;
    }

    /// <summary>Adds <see cref="FedLearnSessions"/>, with options that are checked when the application starts (FL2150).</summary>
    /// <param name="services">The application's services. A <see cref="TimeProvider"/> and logging among them are used; else the system's clock.</param>
    /// <param name="configure">Sets options; null leaves the defaults.</param>
    /// <returns>The same services.</returns>
    public static IServiceCollection AddFedLearn(this IServiceCollection services, Action<FedLearnOptions>? configure = null)
    {
        AddSessions(services).Configure(configure ?? (_ => { }));
        return services;
    }

    private static OptionsBuilder<FedLearnOptions> AddSessions(IServiceCollection services)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddLogging();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<FedLearnSessions>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<FedLearnOptions>, FedLearnOptionsCheck>());
        return services.AddOptions<FedLearnOptions>().ValidateOnStart();
    }
}
